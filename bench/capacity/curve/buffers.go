// SPDX-License-Identifier: Apache-2.0

package curve

import (
	"fmt"
	"os"
)

// leastBuffer is as small as buffers of sockets may get, in bytes.
const leastBuffer = 32 << 10

// buffersEach is how many buffers a connection through a relay fills: to send
// and to receive, before and behind the relay.
const buffersEach = 4

// limitBuffers limits the buffers of sockets of the namespace so that those of n
// connections fit into what the kernel allows TCP altogether. Beyond it the
// kernel drops what arrives, and some MPTCP connections stand still for tens of
// seconds (seen on 6.18). Sockets that are there keep theirs.
func (s *stage) limitBuffers(n int) error {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_mem")
	if err != nil {
		return err
	}
	var low, pressure, high int
	if _, err := fmt.Sscan(string(text), &low, &pressure, &high); err != nil {
		return fmt.Errorf("tcp_mem: %w", err)
	}
	for _, b := range buffersOf(low*os.Getpagesize(), n) {
		if err := s.host.Sysctl(b.key, b.value); err != nil {
			return err
		}
	}
	return nil
}

type setting struct{ key, value string }

// buffersOf are the settings for n connections that share so many bytes. None
// is larger than what the kernel begins with.
func buffersOf(all, n int) []setting {
	most := max(all/buffersEach/n, leastBuffer)
	return []setting{
		{"net.ipv4.tcp_rmem", fmt.Sprintf("4096 %d %d", min(128<<10, most), min(6<<20, most))},
		{"net.ipv4.tcp_wmem", fmt.Sprintf("4096 %d %d", min(16<<10, most), min(4<<20, most))},
	}
}
