// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// DefaultServers is how many servers with Multipath TCP are remembered.
	DefaultServers = 8192
	// serverMemory is how long a server is taken to speak Multipath TCP after
	// it was last seen to.
	serverMemory = time.Hour
)

// servers is a bounded table of those that speak Multipath TCP. It has two
// halves: when the younger one is full it becomes the older one, whose entries
// are forgotten.
type servers struct {
	half int

	mu      sync.RWMutex
	younger map[netip.AddrPort]time.Time // when last seen
	older   map[netip.AddrPort]time.Time
}

func newServers(size int) servers {
	if size <= 0 {
		size = DefaultServers
	}
	return servers{half: (size + 1) / 2, younger: map[netip.AddrPort]time.Time{}}
}

func (s *servers) add(server netip.AddrPort, now time.Time) {
	key := keyOf(server)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.younger[key]; !known && len(s.younger) >= s.half {
		s.younger, s.older = map[netip.AddrPort]time.Time{}, s.younger
	}
	s.younger[key] = now
}

func (s *servers) has(server netip.AddrPort, now time.Time) bool {
	key := keyOf(server)
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen, known := s.younger[key]
	if !known {
		seen, known = s.older[key]
	}
	return known && now.Sub(seen) < serverMemory
}

func (s *servers) remove(server netip.AddrPort) {
	key := keyOf(server)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.younger, key)
	delete(s.older, key)
}

func keyOf(server netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
}
