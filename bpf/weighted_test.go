// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"math"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// shareAfter is the share of the first path, in percent, of n bytes that are sent
// from when a connection has both paths.
func (c *steered) shareAfter(t *testing.T, e *ends, n uint64) float64 {
	t.Helper()
	var before, after [MaxPaths]PathState
	labtest.Await(t, patience, "both paths to carry data", func() bool {
		before = c.state(t, e)
		return before[1].Subflow != 0
	})
	labtest.Await(t, patience, "the data to be sent", func() bool {
		after = c.state(t, e)
		return after[0].Sent+after[1].Sent-before[0].Sent-before[1].Sent >= n
	})
	first, second := after[0].Sent-before[0].Sent, after[1].Sent-before[1].Sent
	return 100 * float64(first) / float64(first+second)
}

// TestWeightedFromStart asks for shares before a connection has its second path,
// and while it carries bulk over both.
func TestWeightedFromStart(t *testing.T) {
	weighted := Policy{Scheduler: Weighted}
	weighted.Paths[0].Weight, weighted.Paths[1].Weight = 80, 20
	link := lab.LinkSpec{Rate: 40e6}
	c := steerOver(t, labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link}), Options{Steering: true}, Policy{})
	for _, live := range []bool{false, true} {
		for _, cc := range []string{"bbr", "cubic"} {
			weighted.CongestionControl = cc
			e := connectIn(t, c.Client, c.Aggregator, c.AggregatorAddr.V4)
			if live {
				c.set(t, e, Policy{CongestionControl: cc})
			} else {
				c.set(t, e, weighted)
			}
			stop := e.bulk(t)
			if live {
				c.awaitSent(t, e, 1, 500_000)
				c.set(t, e, weighted)
			}
			// Both paths begin with their windows: of less the share is not right yet.
			share := c.shareAfter(t, e, 5_000_000)
			stop()
			t.Logf("live %t, %s: first path carried %.1f %%", live, cc, share)
			if math.Abs(share-80) > 8 {
				t.Errorf("live %t, %s: first path carried %.1f %%, want 80", live, cc, share)
			}
		}
	}
}
