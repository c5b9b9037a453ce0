// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
)

// TestRefusedRulesetChangesNothing gives the kernel rules that it refuses.
func TestRefusedRulesetChangesNothing(t *testing.T) {
	h := newHome(t)
	var tb *table
	err := h.CPE.Do(func() (err error) {
		tb, err = openTable("tandem")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tb.close()
	c := everything()
	good := c.ruleset()
	if err := tb.replace(good); err != nil {
		t.Fatal(err)
	}
	if err := tb.missing(good); err != nil {
		t.Errorf("said to be missing: %v", err)
	}
	before := state(t, h.CPE)
	refused := map[string]struct {
		e    expr.Any
		want string
	}{
		// As of a kernel without it.
		"tproxy":         {&expr.TProxy{Family: 99, RegPort: 1}, "nftables tproxy: not supported by this kernel: load or build the module nft_tproxy"},
		"something else": {&expr.Lookup{SourceRegister: 1, SetName: "none"}, "nftables table inet tandem: "},
	}
	for name, test := range refused {
		c := forwarded(both...)
		bad := c.withDefaults()
		rs := bad.ruleset()
		chain := &rs.chains[1]
		chain.rules = append(chain.rules, rule{verdict: verdict{exprs: []expr.Any{test.e}}, reason: "refused"})
		if name == "tproxy" {
			chain.rules = chain.rules[len(chain.rules)-1:]
		}
		err := tb.replace(rs)
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrUnsupported) != (name == "tproxy") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if after := state(t, h.CPE); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", name, before, after)
		}
	}
	if err := tb.replace(good); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := tb.remove(); err != nil {
		t.Error(err)
	}
}
