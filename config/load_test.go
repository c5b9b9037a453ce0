// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-gateway/tandem/mptcp"
)

// compare says how two configurations differ.
func compare(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}, NameServer{}, Target{}))
}

func TestDefaultServesThisMachineOnly(t *testing.T) {
	c := Default()
	if len(c.Listeners) != 2 {
		t.Fatalf("%d listeners, want 2", len(c.Listeners))
	}
	for _, l := range c.Listeners {
		if !l.loopback() {
			t.Errorf("%s listens on %v", l.Name, l.Listen)
		}
		if d := compare(selfOnly(), l.AllowFrom); d != "" {
			t.Errorf("%s: allow-from (-want +got):\n%s", l.Name, d)
		}
		if l.MPTCP != mptcp.ModePrefer || l.FastOpen == 0 {
			t.Errorf("%s: mptcp %v, fast-open %d", l.Name, l.MPTCP, l.FastOpen)
		}
		if u := c.upstream(l.Upstream); u == nil || u.Type != UpstreamDirect {
			t.Errorf("%s: upstream %q is %+v", l.Name, l.Upstream, u)
		}
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

func TestExamples(t *testing.T) {
	for _, role := range []string{"phone-server", "cpe", "aggregator"} {
		t.Run(role, func(t *testing.T) {
			c, err := Load("../deploy/examples/" + role + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			checkComplete(t, c)
			for _, w := range c.Warnings {
				t.Errorf("warning: %v", w)
			}
		})
	}
}
