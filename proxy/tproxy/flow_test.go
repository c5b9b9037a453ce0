// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestExplain(t *testing.T) {
	c := everything()
	lan := Flow{Interface: "lan", Source: netip.MustParseAddr("192.168.1.2"), Destination: netip.MustParseAddrPort("203.0.113.1:443"), DSCP: 1}
	ours := Flow{Own: true, Source: netip.MustParseAddr("198.51.100.2"), Destination: lan.Destination, DSCP: 1}
	tests := map[string]struct {
		flow    Flow
		change  func(*Flow)
		outcome Outcome
		reason  string
	}{
		"forwarded":   {lan, nil, Intercepted, "nothing leaves it out"},
		"QUIC":        {lan, func(f *Flow) { f.UDP = true }, Rejected, "QUIC, where TCP would be intercepted"},
		"DNS":         {lan, func(f *Flow) { f.UDP, f.Destination = true, netip.MustParseAddrPort("203.0.113.1:53") }, Passed, "not QUIC"},
		"own":         {ours, nil, Intercepted, "nothing leaves it out"},
		"own QUIC":    {ours, func(f *Flow) { f.UDP = true }, Rejected, "QUIC, where TCP would be intercepted"},
		"own, marked": {ours, func(f *Flow) { f.Mark = ownMark }, Passed, "traffic of the proxy itself"},
		"own, local":  {ours, func(f *Flow) { f.Local = true }, Passed, "address of this machine, broadcast or multicast"},
		"loopback":    {ours, func(f *Flow) { f.Destination = netip.MustParseAddrPort("127.9.9.9:1") }, Passed, "not the address of a server (127.0.0.0/8)"},
		"mapped":      {lan, func(f *Flow) { f.Destination = netip.MustParseAddrPort("[::ffff:192.0.2.1]:1") }, Passed, "excluded destination (192.0.2.0/24)"},
		"private":     {lan, func(f *Flow) { f.Destination = netip.MustParseAddrPort("172.20.0.1:1") }, Passed, "private destination (172.16.0.0/12)"},
		"upstream":    {lan, func(f *Flow) { f.Destination = netip.MustParseAddrPort("198.51.100.200:1") }, Passed, "address of an upstream (198.51.100.200/32)"},
		"port":        {lan, func(f *Flow) { f.Destination = netip.MustParseAddrPort("203.0.113.1:25") }, Passed, "excluded port (22-30)"},
		"DSCP":        {lan, func(f *Flow) { f.DSCP = 46 }, Passed, "excluded DSCP (46)"},
		"MAC":         {lan, func(f *Flow) { f.MAC = MAC{2, 1, 2, 3, 4, 5} }, Passed, "excluded link-layer address (02:01:02:03:04:05)"},
		"interface":   {lan, func(f *Flow) { f.Interface = "dsl" }, Passed, "not from an interface of clients"},
		"source":      {lan, func(f *Flow) { f.Source = netip.MustParseAddr("198.51.100.1") }, Passed, "not from a prefix of clients"},
		"IPv6 source": {lan, func(f *Flow) {
			f.Source, f.Destination = netip.IPv6Unspecified(), netip.MustParseAddrPort("[2001:db8::1]:443")
		}, Passed, "not from a prefix of clients"},
		"own from a MAC": {ours, func(f *Flow) { f.MAC = MAC{2, 1, 2, 3, 4, 5} }, Intercepted, "nothing leaves it out"},
	}
	for name, test := range tests {
		f := test.flow
		if test.change != nil {
			test.change(&f)
		}
		e := c.Explain(f)
		if e.Outcome != test.outcome || e.Reason != test.reason {
			t.Errorf("%s: %v, %q, want %v, %q", name, e.Outcome, e.Reason, test.outcome, test.reason)
		}
		if !strings.Contains(c.Ruleset(), "\t\t"+e.Rule+" comment ") || !strings.Contains(c.Ruleset(), "\tchain "+e.Chain+" {") {
			t.Errorf("%s: rule %q of chain %q is not in the ruleset", name, e.Rule, e.Chain)
		}
	}
	off := Config{KeepClientAddresses: true}
	if e := off.Explain(ours); e.Outcome != Passed || e.Reason != "traffic of this kind is not looked at" {
		t.Errorf("own traffic, where none is intercepted: %+v", e)
	}
}

// TestExclusionsHold draws flows and checks what must hold for each of them.
func TestExclusionsHold(t *testing.T) {
	c := everything()
	rapid.Check(t, func(t *rapid.T) {
		f := Flow{
			UDP:         rapid.Bool().Draw(t, "udp"),
			Own:         rapid.Bool().Draw(t, "own"),
			Mark:        rapid.SampledFrom([]uint32{0, ownMark, 5}).Draw(t, "mark"),
			Interface:   rapid.SampledFrom([]string{"lan", "dsl", ""}).Draw(t, "interface"),
			Source:      drawAddr(t, "source", "192.168.0.0/16", "10.0.0.0/8", "0.0.0.0/0"),
			Destination: netip.AddrPortFrom(drawAddr(t, "destination", "192.0.2.0/24", "2001:db8:f::/48", "127.0.0.0/8", "0.0.0.0/0", "::/0"), rapid.Uint16().Draw(t, "port")),
			DSCP:        rapid.Uint8Range(0, 63).Draw(t, "dscp"),
			Local:       rapid.Bool().Draw(t, "local"),
		}
		e := c.Explain(f)
		if e.Outcome == Passed {
			return
		}
		if f.Local || f.Own && f.Mark == ownMark || !f.Own && f.Interface != "lan" || f.DSCP == 46 {
			t.Errorf("%v: %+v", e, f)
		}
		for _, ps := range [][]netip.Prefix{special, private, c.Forwarded.Exclude.Destinations} {
			for _, p := range ps {
				if p.Contains(f.Destination.Addr()) {
					t.Errorf("%v in spite of %v: %+v", e, p, f)
				}
			}
		}
		if f.UDP != (e.Outcome == Rejected) || f.UDP && f.Destination.Port() != quicPort {
			t.Errorf("%v: %+v", e, f)
		}
	})
}

// drawAddr draws an address out of one of the prefixes.
func drawAddr(t *rapid.T, label string, from ...string) netip.Addr {
	p := netip.MustParsePrefix(rapid.SampledFrom(from).Draw(t, label+" prefix"))
	b := p.Addr().AsSlice()
	for i := p.Bits() / 8; i < len(b); i++ {
		b[i] = rapid.Byte().Draw(t, label)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
