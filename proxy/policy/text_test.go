// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.1", "192.0.2.1/32"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"0.0.0.0/0 ports 80,443", "0.0.0.0/0 ports 80,443"},
		{"2001:db8::/32 port 25", "2001:db8::/32 ports 25"},
		{"192.0.2.0/24  ports  25, 8000-8080", "192.0.2.0/24 ports 25,8000-8080"},
		{"192.0.2.0/24 ports 0-65535", "192.0.2.0/24 ports 0-65535"},
	} {
		r, err := ParseRule(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
		} else if got := r.String(); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		} else if err := r.Validate(); err != nil {
			t.Errorf("%q: valid, yet %v", c.in, err)
		}
	}
}

func TestParseRuleSaysWhatIsExpected(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "want a prefix"},
		{"example.com", "want a prefix"},
		{"192.0.2.0/33", "want a prefix"},
		{"fe80::1%eth0", "without a zone"},
		{"192.0.2.7/24", "want 192.0.2.0/24, or 192.0.2.7/32"},
		{"192.0.2.0/24 80", `"80" after the prefix: want "ports"`},
		{"192.0.2.0/24 ports", "want a port"},
		{"192.0.2.0/24 ports 80,", "want a port"},
		{"192.0.2.0/24 ports 65536", "want a port"},
		{"192.0.2.0/24 ports -1", "want a port"},
		{"192.0.2.0/24 ports 90-80", "want 80-90"},
	} {
		if r, err := ParseRule(c.in); err == nil {
			t.Errorf("%q: %v, want an error", c.in, r)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %q, want it to say %q", c.in, err, c.want)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add("192.0.2.0/24 ports 25,8000-8080")
	f.Add(Rule{Prefix: netip.MustParsePrefix("2001:db8::/32"), Ports: []PortRange{{1, 2}}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil {
			t.Fatalf("%q: read as %v, which is not valid: %v", s, r, err)
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q: read as %v, which reads as %v, %v", s, r, again, err)
		}
	})
}
