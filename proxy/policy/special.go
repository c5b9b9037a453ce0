// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// A special is a range that a proxy must not reach into by default.
type special struct {
	text    string
	private bool // AllowPrivate opens it
}

// specials are the ranges denied by default: the IANA special-purpose registries
// (RFC 6890) as far as they are not globally reachable, multicast, and the
// well-known addresses at which clouds hand out credentials. Documentation
// prefixes are left alone: nothing answers there, so there is nothing to protect.
func specials() *bart.Table[special] {
	t := new(bart.Table[special])
	add := func(private bool, name string, prefixes ...string) {
		for _, p := range prefixes {
			t.Insert(netip.MustParsePrefix(p), special{text: "default deny " + p + " (" + name + ")", private: private})
		}
	}
	add(true, "private, RFC 1918", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
	add(true, "unique local, RFC 4193", "fc00::/7")
	add(true, "site-local, RFC 3879", "fec0::/10")
	add(true, "carrier-grade NAT, RFC 6598", "100.64.0.0/10")
	add(true, "benchmarking, RFC 2544", "198.18.0.0/15")
	add(true, "benchmarking, RFC 5180", "2001:2::/48")
	add(true, "local-use NAT64, RFC 8215", "64:ff9b:1::/48")
	add(false, "this network, RFC 791", "0.0.0.0/8") // Linux connects 0.0.0.0 to loopback
	add(false, "unspecified, RFC 4291", "::/128")
	add(false, "loopback, RFC 1122", "127.0.0.0/8")
	add(false, "loopback, RFC 4291", "::1/128")
	add(false, "link-local, RFC 3927", "169.254.0.0/16")
	add(false, "link-local, RFC 4291", "fe80::/10")
	add(false, "protocol assignments, RFC 6890", "192.0.0.0/24")
	add(false, "multicast, RFC 5771", "224.0.0.0/4")
	add(false, "multicast, RFC 4291", "ff00::/8")
	add(false, "reserved, RFC 1112", "240.0.0.0/4")
	add(false, "broadcast, RFC 919", "255.255.255.255/32")
	add(false, "discard only, RFC 6666", "100::/64")
	// Some of these lie within private ranges: they stay denied with AllowPrivate.
	add(false, "cloud metadata", "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128")
	return t
}

// embedded returns the IPv4 address that packets to an IPv6 address end up at
// after translation or decapsulation on the way, or the zero Addr.
func embedded(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return netip.Addr{}
	}
	b := a.As16()
	switch {
	case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}: // NAT64 64:ff9b::/96, RFC 6052 section 2.1
		return netip.AddrFrom4([4]byte(b[12:]))
	case b[0] == 0x20 && b[1] == 0x02: // 6to4 2002::/16, RFC 3056 section 2
		return netip.AddrFrom4([4]byte(b[2:]))
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01}: // Teredo 2001::/32, RFC 4380 section 4: inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	case [12]byte(b[:12]) == [12]byte{} && !a.IsUnspecified() && !a.IsLoopback(): // IPv4-compatible ::/96, RFC 4291 section 2.5.5.1
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.Addr{}
}
