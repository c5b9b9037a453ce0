// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/experiment/experimenttest"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

func TestMain(m *testing.M) {
	experiment.ChildMain(load.Children)
	goleak.VerifyTestMain(m)
}

// TestQuick runs short forms for real: they end, with right bytes, a table, a
// plot and samples. How fast it was is not judged.
func TestQuick(t *testing.T) {
	for id, r := range experimenttest.Quick(t, Experiments) {
		looked := false
		for _, v := range r.Verdicts {
			if v.Asked == "nothing lost, hash right" {
				looked = true
				if !v.Met {
					t.Errorf("%s: the transfer was not right: %s", id, v.Got)
				}
			}
		}
		if transfers := []string{"paths-refreshing", "paths-healing", "paths-silent", "paths-handover"}; !looked && slices.Contains(transfers, id) {
			t.Errorf("%s does not look at its bytes", id)
		}
	}
}
