// SPDX-License-Identifier: Apache-2.0

package curve

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/capacity"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/experiment/experimenttest"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

func TestMain(m *testing.M) {
	experiment.ChildMain(load.Children)
	goleak.VerifyTestMain(m)
}

func TestLevels(t *testing.T) {
	for descriptors, want := range map[int][]int{
		20000:   {1, 10, 100, 1000, 9500},
		1 << 20: {1, 10, 100, 1000, 10000, 50000},
		4000:    {1, 10, 100, 1000, 1500},
		1024:    {1, 12},
		100:     {1},
	} {
		if got := levels(descriptors); !slices.Equal(got, want) {
			t.Errorf("with %d descriptors: %v, want %v", descriptors, got, want)
		}
	}
}

// TestQuick runs the short form for real: each number of connections comes
// through and costs something.
func TestQuick(t *testing.T) {
	for id, x := range experimenttest.Quick(t, Experiments) {
		for _, arm := range []string{"1", "100"} {
			for _, metric := range []string{capacity.Throughput, capacity.NewConnections, capacity.BaseMemory} {
				if v := x.Values(arm, metric); len(v) != 1 || v[0] <= 0 {
					t.Errorf("%s: %s of %s connections is %v", id, metric, arm, v)
				}
			}
		}
		if len(x.Plots) != 4 {
			t.Errorf("%s has %d plots", id, len(x.Plots))
		}
	}
}
