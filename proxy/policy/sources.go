// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Sources is a set of prefixes whose hosts may use a listener. It never changes
// once made and may be asked from any goroutine.
type Sources struct {
	prefixes bart.Lite
}

// NewSources makes a set of the given prefixes. There are no implied members:
// an empty list allows nobody, not even loopback, and everybody is 0.0.0.0/0
// with ::/0. Invalid prefixes have no members.
func NewSources(prefixes []netip.Prefix) *Sources {
	s := new(Sources)
	for _, p := range prefixes {
		s.prefixes.Insert(Unmapped(p))
	}
	return s
}

// Allows reports whether addr lies within one of the prefixes. The zero Addr
// does not.
func (s *Sources) Allows(addr netip.Addr) bool {
	return s.prefixes.Contains(addr.Unmap())
}

// Match returns the narrowest of the prefixes that addr lies within.
func (s *Sources) Match(addr netip.Addr) (netip.Prefix, bool) {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return netip.Prefix{}, false
	}
	return s.prefixes.LookupPrefixLPM(netip.PrefixFrom(addr, addr.BitLen()))
}

// Unmapped turns a prefix of IPv4-mapped addresses into the IPv4 prefix it
// stands for, because addresses are looked up unmapped.
func Unmapped(p netip.Prefix) netip.Prefix {
	const mapped = 96 // bits of ::ffff:0:0/96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}
