// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/experiment/experimenttest"
)

func TestMain(m *testing.M) {
	experiment.ChildMain(nil)
	goleak.VerifyTestMain(m)
}

// TestQuick runs short forms for real: all ways at once with an outage, and in turns.
// All bytes have to come through; how fast it was is not judged.
//
// One that goes wrong is run once more. The path manager of the kernel opens the
// subflows of these ways, and Linux 6.18 puts the first data of a new subflow at
// the wrong place now and then (README, honest limits): not twice in a row.
func TestQuick(t *testing.T) {
	for id, why := range wrongBytes(t, experimenttest.Quick(t, Experiments)) {
		t.Logf("%s: %s", id, why)
		for id, why := range wrongBytes(t, experimenttest.Quick(t, Experiments, id)) {
			t.Errorf("%s, twice in a row: %s", id, why)
		}
	}
}

// wrongBytes tells of experiments in which not all bytes came through.
func wrongBytes(t *testing.T, found map[string]*experiment.Outcome) map[string]string {
	wrong := map[string]string{}
	for id, r := range found {
		right := 0
		for _, v := range r.Verdicts {
			if strings.HasSuffix(v.Asked, "with the right bytes") {
				right++
				if !v.Met {
					wrong[id] = v.Asked + ": " + v.Got
				}
			}
		}
		// Transfers that fail are the failure of their experiment.
		if right == 0 && !strings.HasPrefix(id, "apps-bulk") {
			t.Errorf("%s does not look at its bytes", id)
		}
	}
	return wrong
}
