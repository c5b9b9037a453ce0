// SPDX-License-Identifier: Apache-2.0

package paths

import (
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
	for id, r := range experimenttest.Quick(t, Experiments, "paths-refreshing", "paths-handover") {
		right := false
		for _, v := range r.Verdicts {
			right = right || v.Asked == "nothing lost, hash right" && v.Met
		}
		if !right {
			t.Errorf("%s: the transfer was not right: %+v", id, r.Verdicts)
		}
	}
}
