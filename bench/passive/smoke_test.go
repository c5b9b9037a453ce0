// SPDX-License-Identifier: Apache-2.0

package passive

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/experiment/experimenttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestQuick runs the short form for real, in which everything is exact.
func TestQuick(t *testing.T) {
	for id, r := range experimenttest.Quick(t, Experiments) {
		for _, v := range r.Verdicts {
			if !v.Met {
				t.Errorf("%s: %s: %s", id, v.Asked, v.Got)
			}
		}
	}
}
