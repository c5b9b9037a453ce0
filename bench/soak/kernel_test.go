// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// kernelCounters are those of TCP (TcpExt in proc_pid_net(5)) that count
// connections which the kernel does not take, or ends, by itself.
var kernelCounters = []string{noMemory, "TCPAbortOnTimeout", "ListenOverflows", "ListenDrops", "TCPReqQFullDrop"}

// noMemory counts connections that the kernel has reset because TCP had no memory
// left, the whole machine's.
const noMemory = "TCPAbortOnMemory"

// counted are the counters of a host; nil if they cannot be read.
func counted(h *lab.Host) (values map[string]int) {
	_ = h.Do(func() error { // nil says so
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		names, row, found := strings.Cut(string(text), "\n")
		if !found {
			return nil
		}
		row, _, _ = strings.Cut(row, "\n")
		titles, numbers := strings.Fields(names), strings.Fields(row)
		values = map[string]int{}
		for i, name := range titles {
			if i < len(numbers) {
				values[name], _ = strconv.Atoi(numbers[i]) // the first is a title
			}
		}
		return nil
	})
	return values
}

// abortions are what has been counted since.
func abortions(before, after map[string]int) string {
	var list []string
	for _, name := range kernelCounters {
		if n := after[name] - before[name]; n != 0 {
			list = append(list, fmt.Sprintf("%s %d", name, n))
		}
	}
	return strings.Join(list, ", ")
}
