// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rule makes a rule from its text.
func rule(t testing.TB, text string) Rule {
	t.Helper()
	r, err := ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rules(t testing.TB, texts ...string) []Rule {
	t.Helper()
	var out []Rule
	for _, text := range texts {
		out = append(out, rule(t, text))
	}
	return out
}

func destinations(t testing.TB, c DestinationsConfig) *Destinations {
	t.Helper()
	if c.OwnAddresses == nil {
		c.OwnAddresses = func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}, nil
		}
	}
	d, err := NewDestinations(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDestinationsByDefault(t *testing.T) {
	d := destinations(t, DestinationsConfig{})
	for dst, want := range map[string]string{
		"192.0.2.1:443":                   ruleDefault,
		"[2001:db8::1]:443":               ruleDefault,
		"[::ffff:192.0.2.1]:443":          ruleDefault,
		"[64:ff9b::192.0.2.1]:443":        ruleDefault,
		"203.0.113.7:22":                  ruleOwn,
		"[::ffff:203.0.113.7]:22":         ruleOwn,
		"[64:ff9b::203.0.113.7]:22":       ruleOwn,
		"[2001:db8::7]:22":                ruleOwn,
		"10.1.2.3:80":                     "RFC 1918",
		"172.31.255.255:80":               "RFC 1918",
		"192.168.0.1:80":                  "RFC 1918",
		"100.64.0.1:80":                   "RFC 6598",
		"198.19.0.1:80":                   "RFC 2544",
		"127.0.0.1:80":                    "loopback",
		"127.255.255.255:80":              "loopback",
		"[::1]:80":                        "loopback",
		"[::ffff:127.0.0.1]:80":           "loopback",
		"0.0.0.0:80":                      "RFC 791",
		"[::]:80":                         "unspecified",
		"169.254.169.254:80":              "cloud metadata",
		"169.254.1.1:80":                  "link-local",
		"[fe80::1]:80":                    "link-local",
		"[fe80::1%eth0]:80":               "link-local",
		"[fd00::1]:80":                    "RFC 4193",
		"[fd00:ec2::254]:80":              "cloud metadata",
		"224.0.0.1:80":                    "multicast",
		"[ff02::1]:80":                    "multicast",
		"240.0.0.1:80":                    "reserved",
		"255.255.255.255:80":              "broadcast",
		"[64:ff9b::10.0.0.1]:80":          "RFC 1918",
		"[64:ff9b:1::10.0.0.1]:80":        "RFC 8215",
		"[2002:a00:1::]:80":               "RFC 1918",  // 6to4 of 10.0.0.1
		"[2001:0:0:0:0:0:f5ff:fffe]:80":   "RFC 1918",  // Teredo of 10.0.0.1
		"[::10.0.0.1]:80":                 "RFC 1918",  // IPv4-compatible
		"[::127.0.0.1]:80":                "loopback",  // the same
		"[2002:7f00:1:1:2:3:4:5]:80":      "loopback",  // 6to4 of 127.0.0.1
		"[2001:0:1:2:3:4:80ff:fffe]:8080": "loopback",  // Teredo of 127.0.0.1
		"[2002:c000:201::1]:80":           ruleDefault, // 6to4 of 192.0.2.1
		"[2001:0:1:2:3:4:3fff:fdfe]:80":   ruleDefault, // Teredo of 192.0.2.1
		"[100::1]:80":                     "discard",
	} {
		v := d.Decide(netip.MustParseAddrPort(dst))
		if !strings.Contains(v.Rule, want) || v.Allowed != (want == ruleDefault) {
			t.Errorf("%s: %+v, want %q", dst, v, want)
		}
		err := d.Check(netip.MustParseAddrPort(dst))
		if v.Allowed != (err == nil) || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: Check says %v, Decide %+v", dst, err, v)
		}
	}
	if v := d.Decide(netip.AddrPort{}); v.Allowed || v.Rule != ruleInvalid {
		t.Errorf("no address: %+v", v)
	}
}

func TestDestinationRules(t *testing.T) {
	for _, test := range []struct {
		name    string
		config  DestinationsConfig
		dst     string
		allowed bool
		rule    string
	}{
		{"deny beats allow", DestinationsConfig{Allow: rules(t, "192.0.2.1"), Deny: rules(t, "192.0.2.0/24")}, "192.0.2.1:80", false, "deny 192.0.2.0/24"},
		{"deny of a port", DestinationsConfig{Deny: rules(t, "0.0.0.0/0 port 25")}, "192.0.2.1:25", false, "deny 0.0.0.0/0 ports 25"},
		{"another port", DestinationsConfig{Deny: rules(t, "0.0.0.0/0 port 25")}, "192.0.2.1:26", true, ruleDefault},
		{"deny of IPv4 within IPv6", DestinationsConfig{Deny: rules(t, "0.0.0.0/0 port 25")}, "[64:ff9b::192.0.2.1]:25", false, "deny 0.0.0.0/0 ports 25"},
		{"IPv6 rule and IPv4", DestinationsConfig{Deny: rules(t, "::/0")}, "192.0.2.1:80", true, ruleDefault},
		{"allow opens what is denied by default", DestinationsConfig{Allow: rules(t, "10.0.0.0/8")}, "10.1.2.3:80", true, "allow 10.0.0.0/8"},
		{"also its own address", DestinationsConfig{Allow: rules(t, "203.0.113.7 port 53")}, "203.0.113.7:53", true, "allow 203.0.113.7/32 ports 53"},
		{"not another port of it", DestinationsConfig{Allow: rules(t, "203.0.113.7 port 53")}, "203.0.113.7:22", false, ruleOwn},
		{"a wide rule behind a narrow one", DestinationsConfig{Deny: rules(t, "192.0.2.0/24", "192.0.2.1 port 80")}, "192.0.2.1:443", false, "deny 192.0.2.0/24"},
		{"only", DestinationsConfig{Only: true, Allow: rules(t, "192.0.2.0/24")}, "198.51.100.1:80", false, ruleOnly},
		{"only, allowed", DestinationsConfig{Only: true, Allow: rules(t, "192.0.2.0/24")}, "192.0.2.1:80", true, "allow 192.0.2.0/24"},
		{"private ranges", DestinationsConfig{AllowPrivate: true}, "192.168.1.1:80", true, ruleDefault},
		{"loopback stays", DestinationsConfig{AllowPrivate: true}, "127.0.0.1:80", false, "loopback"},
		{"metadata stays", DestinationsConfig{AllowPrivate: true}, "100.100.100.200:80", false, "metadata"},
		{"IPv4-mapped rule", DestinationsConfig{Deny: []Rule{{Prefix: netip.MustParsePrefix("::ffff:192.0.2.0/120")}}}, "192.0.2.9:80", false, "deny 192.0.2.0/24"},
	} {
		v := destinations(t, test.config).Decide(netip.MustParseAddrPort(test.dst))
		if v.Allowed != test.allowed || !strings.Contains(v.Rule, test.rule) {
			t.Errorf("%s: %+v", test.name, v)
		}
	}
}

func TestDestinationsRefresh(t *testing.T) {
	own, failure := netip.MustParseAddr("192.0.2.1"), error(nil)
	d := destinations(t, DestinationsConfig{OwnAddresses: func() ([]netip.Addr, error) { return []netip.Addr{own}, failure }})
	first, second := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")
	own = second.Addr()
	if d.Check(first) == nil || d.Check(second) != nil {
		t.Error("the list changed by itself")
	}
	failure = errors.New("no list")
	if err := d.Refresh(); !errors.Is(err, failure) || d.Check(first) == nil {
		t.Errorf("after a failure: %v", err)
	}
	failure = nil
	if err := d.Refresh(); err != nil || d.Check(first) != nil || d.Check(second) == nil {
		t.Errorf("after a change: %v", err)
	}
}

func TestDestinationsRefuseBadRules(t *testing.T) {
	for _, c := range []DestinationsConfig{
		{Allow: []Rule{{}}},
		{Deny: []Rule{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Ports: []PortRange{{2, 1}}}}},
	} {
		if _, err := NewDestinations(c); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

// A rule table finds exactly the rules that a plain look through all of them
// finds.
func TestRuleTableFindsWhatMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := func(label string) netip.Addr {
			return netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, label)})
		}
		var list []Rule
		for range rapid.IntRange(0, 8).Draw(t, "rules") {
			r := Rule{Prefix: netip.PrefixFrom(addr("prefix"), rapid.IntRange(22, 32).Draw(t, "bits")).Masked()}
			if rapid.Bool().Draw(t, "ports") {
				from := rapid.Uint16Range(0, 4).Draw(t, "from")
				r.Ports = []PortRange{{from, from + rapid.Uint16Range(0, 2).Draw(t, "more")}}
			}
			list = append(list, r)
		}
		table, err := newRuleTable("deny", list)
		if err != nil {
			t.Fatal(err)
		}
		dst, port := addr("destination"), rapid.Uint16Range(0, 6).Draw(t, "port")
		want := false
		for _, r := range list {
			named := namedRule{ports: r.Ports}
			want = want || r.Prefix.Contains(dst) && named.matches(port)
		}
		if got := table.match(dst, port); (got != "") != want {
			t.Fatalf("%v port %d of %v: rule %q", dst, port, list, got)
		}
	})
}

func TestDecidingAllocatesNothing(t *testing.T) {
	d := destinations(t, DestinationsConfig{Deny: rules(t, "0.0.0.0/0 port 25")})
	s := NewSources([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	dst := netip.MustParseAddrPort("[64:ff9b::192.0.2.1]:443")
	if n := testing.AllocsPerRun(100, func() {
		d.Decide(dst)
		s.Allows(dst.Addr())
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSources(t *testing.T) {
	s := NewSources([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:198.51.100.0/120")})
	for addr, want := range map[string]bool{
		"192.0.2.1": true, "::ffff:192.0.2.1": true, "192.0.3.1": false, "127.0.0.1": false,
		"2001:db8::1": true, "2001:db9::1": false, "198.51.100.9": true,
	} {
		if got := s.Allows(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if s.Allows(netip.Addr{}) || NewSources(nil).Allows(netip.MustParseAddr("127.0.0.1")) {
		t.Error("somebody is allowed whom no prefix names")
	}
}
