// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"slices"
	"testing"

	"github.com/tandem-gateway/tandem/options"
)

// TestChangesOfCaps: what somebody else says of what clients may ask for replaces
// what the policy says, value by value and list by list, until it is said anew.
func TestChangesOfCaps(t *testing.T) {
	parse := func(text string) options.Set {
		s, err := options.ParseSet(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p := Policy{Caps: options.Caps{
		Max: parse("inactivity-timeout=2h;initial-window=20"), Forbid: []options.Option{options.Scheduler}, CongestionControls: []string{"reno"},
	}}
	most := parse("initial-window=10;user-timeout=1m")
	first := Changes{MaxOptions: &most, CongestionControls: &[]string{"cubic", "bbr"}}
	got := first.Apply(p).Caps
	if got.Max != parse("inactivity-timeout=2h;initial-window=10;user-timeout=1m") || !slices.Equal(got.Forbid, p.Caps.Forbid) ||
		!slices.Equal(got.CongestionControls, []string{"cubic", "bbr"}) {
		t.Errorf("%+v", got)
	}
	second := Changes{ForbidOptions: &[]options.Option{options.DelayedACK}, CongestionControls: &[]string{"cubic"}}.Over(first)
	got = second.Apply(p).Caps
	if got.Max.String() != "inactivity-timeout=2h;initial-window=10;user-timeout=1m" || !slices.Equal(got.Forbid, []options.Option{options.DelayedACK}) ||
		!slices.Equal(got.CongestionControls, []string{"cubic"}) {
		t.Errorf("%+v", got)
	}
	if anew := (Changes{Policy: "other"}).Over(second); anew.MaxOptions != nil || anew.ForbidOptions != nil || anew.CongestionControls != nil {
		t.Errorf("a policy that is named keeps %+v", anew)
	}
	if !slices.Equal(p.Caps.CongestionControls, []string{"reno"}) {
		t.Error("the policy itself has changed")
	}
}
