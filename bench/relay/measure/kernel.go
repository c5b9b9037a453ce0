// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Kernel is what the kernel of the whole machine holds at one moment. Only a
// difference between two moments tells of what was started in between, and only
// if nothing else on the machine opens connections meanwhile.
type Kernel struct {
	// Objects are the bytes of all objects in slabs but those of file systems,
	// with their share of what a slab cannot use: sockets, their files and
	// waits, small buffers.
	Objects int64
	// Buffers are the bytes that TCP sockets of all namespaces, subflows
	// included, have reserved for data.
	Buffers int64
}

// ReadKernel reads what the kernel holds. It needs root.
func ReadKernel() (Kernel, error) {
	slabs, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return Kernel{}, err
	}
	var k Kernel
	if k.Objects, err = parseSlabs(slabs, int64(os.Getpagesize())); err != nil {
		return k, fmt.Errorf("/proc/slabinfo: %w", err)
	}
	sockets, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return k, err
	}
	pages, err := parseTCPPages(sockets)
	if err != nil {
		return k, fmt.Errorf("/proc/net/sockstat: %w", err)
	}
	k.Buffers = pages * int64(os.Getpagesize())
	return k, nil
}

// Fields of a line of slabinfo(5) that are of interest.
const (
	slabName          = 0
	slabActiveObjects = 1
	slabObjects       = 4 // per slab
	slabPages         = 5 // per slab
)

var errNoTCPPages = errors.New("no TCP line with mem")

// parseSlabs adds up the bytes of objects that are in use.
func parseSlabs(text []byte, page int64) (int64, error) {
	var sum int64
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || fields[0] == "slabinfo" || fields[0] == "#" {
			continue
		}
		if len(fields) <= slabPages {
			return 0, errShort
		}
		if ofFileSystem(fields[slabName]) {
			continue
		}
		var active, objects, pages int64
		for i, to := range map[int]*int64{slabActiveObjects: &active, slabObjects: &objects, slabPages: &pages} {
			var err error
			if *to, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
				return 0, fmt.Errorf("%s: %w", fields[slabName], err)
			}
		}
		if objects > 0 {
			sum += active * pages * page / objects
		}
	}
	return sum, nil
}

// ofFileSystem tells whether a cache grows with files that somebody reads. The
// names of entries in directories, which sockets have too, are not told apart.
func ofFileSystem(cache string) bool {
	switch cache {
	case "sock_inode_cache":
		return false
	case "buffer_head", "radix_tree_node", "lsm_inode_cache", "inode_cache":
		return true
	}
	return strings.HasSuffix(cache, "_inode_cache")
}

// parseTCPPages reads how many pages TCP has reserved.
func parseTCPPages(text []byte) (int64, error) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("TCP:"))
		if !ok {
			continue
		}
		fields := strings.Fields(string(rest))
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i] == "mem" {
				return strconv.ParseInt(fields[i+1], 10, 64)
			}
		}
	}
	return 0, errNoTCPPages
}
