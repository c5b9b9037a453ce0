// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReportText(t *testing.T) {
	var r Report
	r.add(good("links", "links", "%d", 2), Row{
		Group: "links", Check: "routes", Verdict: Failed, Found: "none", Lost: "the link", Mend: "ip rule add",
	})
	r.add(Row{Group: "limits", Check: "clock", Verdict: Warning, Found: "late", Lost: "times"})
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `links
  ok       links: 2
  failed   routes: none
           lost: the link
           mend: ip rule add
limits
  warning  clock: late
           lost: times
3 checks, 1 failed, 1 warning
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// TestEmptyNeeds: nobody who asks for nothing is told that something failed.
func TestEmptyNeeds(t *testing.T) {
	for _, row := range Examine(t.Context(), Needs{}).Rows {
		if row.Verdict == Failed {
			t.Errorf("failed: %+v", row)
		}
		if row.Verdict != OK && row.Lost == "" {
			t.Errorf("does not say what is lost: %+v", row)
		}
	}
}
