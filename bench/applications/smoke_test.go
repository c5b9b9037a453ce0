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
func TestQuick(t *testing.T) {
	for id, r := range experimenttest.Quick(t, Experiments) {
		judged := 0
		for _, v := range r.Verdicts {
			if strings.HasSuffix(v.Asked, "with the right bytes") {
				judged++
				if !v.Met {
					t.Errorf("%s: %s: %s", id, v.Asked, v.Got)
				}
			}
		}
		// Transfers that fail are the failure of their experiment.
		if judged == 0 && !strings.HasPrefix(id, "apps-bulk") {
			t.Errorf("%s does not look at its bytes", id)
		}
	}
}
