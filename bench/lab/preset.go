// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
)

// Dual is a pair of addresses of one interface or service.
type Dual struct {
	V4, V6 netip.Addr
}

// Access is one of the access links of a multihomed host.
type Access struct {
	*Link
	// Dev is the device of the multihomed host.
	Dev string
	// Addr is the multihomed host's address on the link, and Gateway the
	// aggregator's.
	Addr, Gateway Dual
	// Table is the routing table of the multihomed host for packets from Addr.
	Table int
}

// Bits of the subnets of the presets.
const (
	bits4 = 24
	bits6 = 64
	// access subnets share 198.51.100.0/24
	accessBits4 = 25
)

// mptcpLimit is the most that the kernel allows, so that limits never decide
// what a test sees.
const mptcpLimit = 8

var (
	defaultV4 = netip.MustParsePrefix("0.0.0.0/0")
	defaultV6 = netip.MustParsePrefix("::/0")
)

// The addresses of the presets are taken from documentation prefixes
// (RFC 5737, RFC 3849), because proxies refuse private destinations.
func dual(v4, v6 string) Dual {
	return Dual{V4: netip.MustParseAddr(v4), V6: netip.MustParseAddr(v6)}
}

func (d Dual) prefixes(bits4, bits6 int) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(d.V4, bits4), netip.PrefixFrom(d.V6, bits6)}
}

func (d Dual) each() []netip.Addr { return []netip.Addr{d.V4, d.V6} }

// anywhere is the default route's destination in the family of a.
func anywhere(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return defaultV4
	}
	return defaultV6
}

// backbone is what both presets share: an aggregator with a service address
// reachable over every access link, and a server behind it.
type backbone struct {
	*Lab
	// Aggregator is where MPTCP ends; its service address, AggregatorAddr, is
	// on lo.
	Aggregator     *Host
	AggregatorAddr Dual
	// Server is reached through the aggregator only, over Core.
	Server     *Host
	ServerAddr Dual
	// Core connects the aggregator (A) to the server (B); CoreAddr is the
	// aggregator's address on it, from which it speaks to the server.
	Core     *Link
	CoreAddr Dual
}

// newBackbone builds the backbone of a lab with the given access links.
func newBackbone(name string, access ...LinkSpec) (*backbone, error) {
	if _, err := os.Stat("/proc/sys/net/mptcp"); err != nil {
		return nil, fmt.Errorf("lab %q: %w", name, ErrNoMPTCP)
	}
	l, err := New(name)
	if err != nil {
		return nil, err
	}
	b := &backbone{
		Lab:            l,
		AggregatorAddr: dual("192.0.2.1", "2001:db8:a::1"),
		ServerAddr:     dual("203.0.113.80", "2001:db8:c::80"),
		CoreAddr:       dual("203.0.113.1", "2001:db8:c::1"),
	}
	if err := b.build(feeding(access...)); err != nil {
		l.Close()
		return nil, fmt.Errorf("lab %q: %w", name, err)
	}
	return b, nil
}

// feeding describes an unlimited link whose traffic goes on over others.
func feeding(access ...LinkSpec) LinkSpec {
	shaped := slices.ContainsFunc(access, func(s LinkSpec) bool {
		// An emulated link splits large segments itself.
		return s.PerPacket || s.Rate != 0 && !s.emulated()
	})
	return LinkSpec{PerPacket: shaped}
}

func (b *backbone) build(core LinkSpec) error {
	var err error
	if b.Aggregator, err = b.Host("aggregator"); err != nil {
		return err
	}
	if b.Server, err = b.Host("server"); err != nil {
		return err
	}
	for _, addr := range b.AggregatorAddr.each() {
		if err := b.Aggregator.AddAddress("lo", single(addr)); err != nil {
			return err
		}
	}
	if err := b.Aggregator.Forwarding(true); err != nil {
		return err
	}
	if err := b.Aggregator.MPTCPLimits(mptcpLimit, mptcpLimit); err != nil {
		return err
	}
	b.Core, err = b.Link(b.Aggregator, b.Server, "core", "core",
		b.CoreAddr.prefixes(bits4, bits6), b.ServerAddr.prefixes(bits4, bits6), core)
	if err != nil {
		return err
	}
	return defaultVia(b.Server, b.CoreAddr, "core", 0, 0)
}

// connect adds an access link between a multihomed host and the aggregator:
// the link, a routing table for packets from its address, a default route in
// the main table with the given metric, and an MPTCP endpoint.
func (b *backbone) connect(h *Host, a Access, metric int, spec LinkSpec) (Access, error) {
	var err error
	a.Link, err = b.Link(h, b.Aggregator, a.Dev, a.Dev,
		a.Addr.prefixes(accessBits4, bits6), a.Gateway.prefixes(accessBits4, bits6), spec)
	if err != nil {
		return a, err
	}
	if err := defaultVia(h, a.Gateway, a.Dev, a.Table, 0); err != nil {
		return a, err
	}
	if err := defaultVia(h, a.Gateway, a.Dev, 0, metric); err != nil {
		return a, err
	}
	for _, addr := range a.Addr.each() {
		// While the link is down, its packets must not leave over the other one.
		last := Route{Dst: anywhere(addr), Table: a.Table, Metric: LastMetric, Unreachable: true}
		if err := h.AddRoute(last); err != nil {
			return a, err
		}
		if err := h.AddRule(single(addr), a.Table); err != nil {
			return a, err
		}
		if err := h.Endpoint(addr, a.Dev, "subflow"); err != nil {
			return a, err
		}
	}
	return a, nil
}

func defaultVia(h *Host, gateway Dual, dev string, table, metric int) error {
	for _, gw := range gateway.each() {
		if err := h.AddRoute(Route{Dst: anywhere(gw), Via: gw, Dev: dev, Table: table, Metric: metric}); err != nil {
			return err
		}
	}
	return nil
}
