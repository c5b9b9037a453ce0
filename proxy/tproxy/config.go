// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"cmp"
	"net/netip"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

// Defaults of Config: numbers that others are unlikely to use, "Ta" in ASCII.
const (
	DefaultName     = "tandem"
	DefaultMark     = 0x5461
	DefaultMask     = 0xffffffff
	DefaultTable    = 0x5461
	DefaultPriority = 0x5461
)

// Config says what is intercepted. Fields that are zero have defaults; at least
// one of Forwarded, Own and KeepClientAddresses must be asked for.
type Config struct {
	// Name of the nftables table, of family inet; DefaultName if empty.
	Name string

	// Forwarded is the traffic of others that this machine forwards (TPROXY);
	// off if its To is empty.
	Forwarded Forwarded
	// Own is the traffic of this machine's programs (redirect); off if its To
	// is empty.
	Own Own

	// KeepClientAddresses delivers what comes back to sockets that are bound to
	// addresses of clients (IP_TRANSPARENT). It is implied by Forwarded.
	KeepClientAddresses bool

	// Upstreams are the addresses of aggregators and other proxies, which are
	// never intercepted.
	Upstreams []netip.Addr
	// OwnMark is the SO_MARK of all sockets of this process, whose traffic is
	// never intercepted. Own needs it.
	OwnMark uint32

	// Mark is the firewall mark of intercepted packets, within Mask;
	// DefaultMark and DefaultMask if zero. Other bits of marks are kept.
	Mark, Mask uint32
	// Table is the routing table that delivers marked packets to this machine,
	// DefaultTable if zero. It must hold nothing else.
	Table uint32
	// Priority of the routing rule that leads to Table: 1 to 32765,
	// DefaultPriority if zero.
	Priority uint32
}

// Capture is what both ways of interception have in common.
type Capture struct {
	// To are the addresses of the listener, at most one of each family. An
	// unspecified IPv6 address alone stands for both families. A family without
	// an address is not intercepted.
	To []netip.AddrPort
	// Ports are the destination ports; all if empty.
	Ports []policy.PortRange
	// Exclude is what is left alone.
	Exclude Exclude
	// RejectQUIC rejects UDP to port 443 with an ICMP port unreachable, under
	// the same conditions, so that QUIC falls back to TCP.
	RejectQUIC bool
}

// Forwarded is traffic that this machine forwards. The listener has
// IP_TRANSPARENT set; on a loopback address only intercepted traffic reaches
// it. At least one of Interfaces and Sources must be given; with both, both
// must match.
type Forwarded struct {
	Capture
	// Interfaces that clients' packets arrive on. They need not exist yet.
	Interfaces []string
	// Sources are the prefixes of clients.
	Sources []netip.Prefix
}

// Own is traffic of this machine's programs. The kernel redirects it to
// 127.0.0.1 and ::1, so listeners are bound to these or to unspecified
// addresses.
type Own struct {
	Capture
}

// Exclude says which traffic goes on to its destination as it is. What is not
// meant for a server elsewhere always does: this machine's own addresses,
// loopback, link-local, multicast and broadcast.
type Exclude struct {
	// Private leaves out private and shared address space: RFC 1918, 6598, 2544,
	// 4193.
	Private bool
	// Destinations that are left out.
	Destinations []netip.Prefix
	// Ports are destination ports that are left out.
	Ports []policy.PortRange
	// DSCP are Differentiated Services Code Points, 0 to 63, that are left out.
	// The first packet of a connection decides.
	DSCP []uint8
	// MACs are link-layer addresses of clients that are left out; of Forwarded
	// only.
	MACs []MAC
}

// MAC is a link-layer address of 48 bits.
type MAC [6]byte

// special are destinations that are never intercepted.
var special = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
	"::/127", "fe80::/10", "ff00::/8",
)

// private are the destinations of Exclude.Private.
var private = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15",
	"fc00::/7",
)

func prefixes(texts ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		ps[i] = netip.MustParsePrefix(t)
	}
	return ps
}

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, DefaultName)
	c.Mark = cmp.Or(c.Mark, DefaultMark)
	c.Mask = cmp.Or(c.Mask, DefaultMask)
	c.Table = cmp.Or(c.Table, DefaultTable)
	c.Priority = cmp.Or(c.Priority, DefaultPriority)
	return c
}

func (c *Config) routing() routing {
	return routing{mark: c.Mark, mask: c.Mask, table: c.Table, priority: c.Priority}
}

// delivers reports whether marked packets have to be routed to this machine.
func (c *Config) delivers() bool { return c.Forwarded.on() || c.KeepClientAddresses }

// needsIPv6 reports whether interception is incomplete without IPv6.
func (c *Config) needsIPv6() bool { return c.Forwarded.listener(true).IsValid() }

func (c *Capture) on() bool { return len(c.To) > 0 }

// listener returns the address to deliver a family to; the zero value if it is
// not intercepted.
func (c *Capture) listener(v6 bool) netip.AddrPort {
	for _, to := range c.To {
		if to.Addr().Unmap().Is6() == v6 {
			return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		}
	}
	if !v6 && len(c.To) == 1 && c.To[0].Addr() == netip.IPv6Unspecified() {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), c.To[0].Port())
	}
	return netip.AddrPort{}
}
