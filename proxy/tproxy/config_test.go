// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

func TestValidate(t *testing.T) {
	valid := map[string]Config{
		"forwarded":            forwarded(both...),
		"own":                  own(both...),
		"own, one for all":     own(any6),
		"client addresses":     {KeepClientAddresses: true},
		"everything":           everything(),
		"sources alone":        {Forwarded: Forwarded{Capture: Capture{To: both}, Sources: prefixes("10.0.0.0/8")}},
		"highest priority":     {KeepClientAddresses: true, Priority: lastPriority},
		"mark in a small mask": {KeepClientAddresses: true, Mark: 1, Mask: 1, OwnMark: 2},
	}
	for name, c := range valid {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	invalid := map[string]struct {
		change func(*Config)
		want   string
	}{
		"nothing":          {func(c *Config) { *c = Config{} }, "nothing to intercept"},
		"name":             {func(c *Config) { c.Name = "a b" }, `name "a b": want at most 64 letters`},
		"long name":        {func(c *Config) { c.Name = strings.Repeat("a", 65) }, "want at most 64 letters"},
		"mark":             {func(c *Config) { c.Mark, c.Mask = 3, 1 }, "mark 0x3: has bits outside of mask 0x1"},
		"own mark":         {func(c *Config) { c.OwnMark = DefaultMark }, "own mark 0x5461: the same as the mark"},
		"own mark in mask": {func(c *Config) { c.Mark, c.Mask, c.OwnMark = 1, 1, 3 }, "own mark 0x3: the same as the mark"},
		"table":            {func(c *Config) { c.Table = 254 }, "routing table 254: belongs to the system"},
		"priority":         {func(c *Config) { c.Priority = 32766 }, "priority 32766: want 1 to 32765"},
		"upstream":         {func(c *Config) { c.Upstreams = []netip.Addr{{}} }, "upstream invalid IP"},
		"no interface":     {func(c *Config) { c.Forwarded.Interfaces = nil }, "forwarded traffic: want interfaces or prefixes"},
		"interface":        {func(c *Config) { c.Forwarded.Interfaces = []string{"br*"} }, `interface "br*": want a name`},
		"loopback":         {func(c *Config) { c.Forwarded.Interfaces = []string{"lo"} }, "interface lo: nothing is forwarded"},
		"source":           {func(c *Config) { c.Forwarded.Sources = []netip.Prefix{{}} }, "source: not a valid prefix"},
		"source bits": {
			func(c *Config) { c.Forwarded.Sources = prefixes("10.1.0.0/8") },
			"source 10.1.0.0/8: bits are set after the prefix, want 10.0.0.0/8",
		},
		"two listeners": {func(c *Config) { c.Forwarded.To = []netip.AddrPort{any4, loopback4} }, "there is 0.0.0.0:1234 already"},
		"no port":       {func(c *Config) { c.Forwarded.To = []netip.AddrPort{netip.AddrPortFrom(any4.Addr(), 0)} }, "and a port"},
		"multicast": {
			func(c *Config) { c.Forwarded.To = []netip.AddrPort{netip.MustParseAddrPort("224.0.0.1:1")} },
			"listener 224.0.0.1:1: want a unicast address",
		},
		"ports":          {func(c *Config) { c.Forwarded.Ports = []policy.PortRange{{From: 2, To: 1}} }, "port 2-1: range is upside down"},
		"excluded ports": {func(c *Config) { c.Forwarded.Exclude.Ports = []policy.PortRange{{From: 2, To: 1}} }, "excluded port 2-1"},
		"mapped prefix": {
			func(c *Config) { c.Forwarded.Exclude.Destinations = prefixes("::ffff:10.0.0.0/104") },
			"want it written as IPv4",
		},
		"DSCP":              {func(c *Config) { c.Forwarded.Exclude.DSCP = []uint8{64} }, "excluded DSCP 64: want 0 to 63"},
		"own without mark":  {func(c *Config) { *c = own(both...); c.OwnMark = 0 }, "want a mark of own sockets"},
		"own listener":      {func(c *Config) { *c = own(netip.MustParseAddrPort("192.0.2.1:1")) }, "own traffic: listener 192.0.2.1:1: want 127.0.0.1"},
		"own MAC":           {func(c *Config) { *c = own(both...); c.Own.Exclude.MACs = []MAC{{}} }, "own traffic comes from none"},
		"forwarded invalid": {func(c *Config) { c.Forwarded.To = []netip.AddrPort{{}} }, "forwarded traffic: listener invalid AddrPort"},
	}
	for name, test := range invalid {
		c := forwarded(both...)
		test.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if _, err := Install(c); err == nil {
			t.Errorf("%s: was installed", name)
		}
	}
	c := forwarded(both...)
	c.Name, c.Table, c.Priority = "", 254, 40000
	if lines := strings.Count(c.Validate().Error(), "\n") + 1; lines != 2 {
		t.Errorf("%d mistakes reported of 2", lines)
	}
}

func TestListenerOfFamily(t *testing.T) {
	mapped := netip.MustParseAddrPort("[::ffff:127.0.0.1]:1234")
	tests := map[string]struct {
		to     []netip.AddrPort
		v4, v6 netip.AddrPort
	}{
		"none":        {},
		"both":        {both, loopback4, loopback6},
		"IPv4":        {[]netip.AddrPort{any4}, any4, netip.AddrPort{}},
		"mapped":      {[]netip.AddrPort{mapped}, loopback4, netip.AddrPort{}},
		"IPv6":        {[]netip.AddrPort{loopback6}, netip.AddrPort{}, loopback6},
		"one for all": {[]netip.AddrPort{any6}, any4, any6},
		"each":        {[]netip.AddrPort{any6, loopback4}, loopback4, any6},
	}
	for name, test := range tests {
		c := Capture{To: test.to}
		if got := c.listener(false); got != test.v4 {
			t.Errorf("%s: IPv4 at %v, want %v", name, got, test.v4)
		}
		if got := c.listener(true); got != test.v6 {
			t.Errorf("%s: IPv6 at %v, want %v", name, got, test.v6)
		}
	}
}

func TestSetsDoNotOverlap(t *testing.T) {
	ports := portSet("p", []policy.PortRange{{From: 5, To: 9}, {From: 1, To: 3}, {From: 4, To: 4}, {From: 7, To: 8}, {From: 65535, To: 65535}})
	nested := prefixSet("n", false, prefixes("10.1.0.0/16", "10.0.0.0/8", "2001:db8::/32", "10.0.0.0/8", "11.0.0.0/8"))
	for name, test := range map[string]struct {
		set  *set
		want []string
	}{
		"ports":    {ports, []string{"1-9", "65535"}},
		"prefixes": {nested, []string{"10.0.0.0/8", "11.0.0.0/8"}},
	} {
		var got []string
		for _, e := range test.set.elements {
			got = append(got, e.text)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if last := ports.elements[1]; last.next != nil {
		t.Errorf("after the last port comes %v", last.next)
	}
}

func TestChainNamesRouting(t *testing.T) {
	r := routing{mark: 0x5461, mask: 0xffffffff, table: 70000, priority: 5}
	if got, ok := parseChain(r.chain()); !ok || got != r {
		t.Errorf("%s parsed as %v, %v", r.chain(), got, ok)
	}
	for _, name := range []string{"", "forwarded", r.chain() + "0x", "deliver_mark_0x1_0x1_table_1_priority_", "deliver_mark_1_0x1_table_1_priority_1"} {
		if got, ok := parseChain(name); ok {
			t.Errorf("%q parsed as %v", name, got)
		}
	}
}

// TestCommentsFit: nft refuses comments of more than 128 bytes.
func TestCommentsFit(t *testing.T) {
	c := everything()
	for _, ch := range c.ruleset().chains {
		for _, r := range ch.rules {
			if r.reason == "" || len(r.reason) > 127 || strings.ContainsAny(r.reason, "\"\\") {
				t.Errorf("comment %q", r.reason)
			}
		}
	}
	if names := c.ruleset().sets(); len(names) != len(slices.CompactFunc(names, func(a, b *set) bool { return a.name == b.name })) {
		t.Error("a set is there twice")
	}
}
