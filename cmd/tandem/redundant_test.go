// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

const (
	redundantHop  = "hag/192.0.2.1:8803/redundant"
	redundantSize = 3_000_000 // of the file
)

// redundantAggregator takes legs.
const redundantAggregator = aggregator + "    convert: {redundant: true}\n"

// newRedundantHome runs tandem in a home.
func newRedundantHome(t *testing.T, spec lab.HybridHomeSpec, aggregator, cpe string) *home {
	t.Helper()
	h := &home{HybridHome: labtest.HybridHome(t, spec)}
	h.aggregator = runTandem(t, h.Aggregator, aggregator)
	h.cpe = runTandem(t, h.CPE, cpe)
	return h
}

// redundantHome is a home whose connections are redundant, with two emulated
// links.
func redundantHome(t *testing.T, dsl, lte lab.LinkSpec) *home {
	t.Helper()
	return newHomeWith(t, lab.HybridHomeSpec{DSL: dsl, LTE: lte}, redundantSize,
		redundantAggregator, cpe+"    convert: {redundant: true}\n")
}

// TestRedundantLinkCut cuts either link in the middle of a download that both
// carry.
func TestRedundantLinkCut(t *testing.T) {
	t.Parallel()
	link := lab.LinkSpec{Emulate: true, Delay: 5 * time.Millisecond, Rate: linkRate}
	h := redundantHome(t, link, link)
	for _, access := range []lab.Access{h.DSL, h.LTE} {
		before := counters(t, h.links()...)
		done := h.download(t)
		awaitBytes(t, h, before, redundantSize/2)
		if err := access.SetUp(false); err != nil {
			t.Fatal(err)
		}
		checkFetched(t, h.web, <-done)
		if err := access.SetUp(true); err != nil {
			t.Fatal(err)
		}
	}
	awaitLog(t, h.cpe, "upstream="+redundantHop)
	for i, n := range counters(t, h.links()...) {
		if n < redundantSize/2 {
			t.Errorf("link %d carried %d bytes of two copies of %d", i, n, redundantSize)
		}
	}
}
