// SPDX-License-Identifier: Apache-2.0

package options

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/experiment/experimenttest"
	"github.com/tandem-gateway/tandem/bench/workload"
)

func TestMain(m *testing.M) {
	experiment.ChildMain(Children)
	goleak.VerifyTestMain(m)
}

// TestQuick runs short forms for real. What they measure is not judged, but that
// no byte was lost.
func TestQuick(t *testing.T) {
	for id, r := range experimenttest.Quick(t, Experiments) {
		for _, v := range r.Verdicts {
			if strings.Contains(v.Got, workload.ErrOtherBytes.Error()) {
				t.Errorf("%s: %+v", id, v)
			}
		}
	}
}
