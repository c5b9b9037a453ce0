// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// pages loads the same pages on all ways in turns.
func pages(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	t, err := newTrial(ctx, e, r, "hybrid-home", "tcp dsl", "tcp lte", testbed.MPTCP, testbed.SOCKS5, testbed.Transparent, testbed.Redundant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	each := e.Rounds(4, 1) // pages in a round
	if err := t.turns(ctx, e.Rounds(6, 1), func(ctx context.Context, w testbed.Way, round int) (experiment.Measured, error) {
		load := workload.Browse{Pages: workload.NewPages(e.Seed+uint64(round*each), each)}
		got, err := t.run(ctx, w, load)
		if err != nil {
			return nil, err
		}
		if got.Done == 0 {
			return nil, errors.New(got.Error)
		}
		return experiment.Measured{"load time": figure.Milliseconds(got.Latency.Percentile(50))}, nil
	}); err != nil {
		return err
	}
	t.latencies("", "pages")
	r.Plot("", t.cdf("Load times of web pages at home", "from the beginning to the last byte of the last object, ms"))
	t.judgeComplete("pages", testbed.SOCKS5, testbed.Transparent, testbed.Redundant)
	t.judgeFaster(testbed.Transparent, t.bestSingle())
	r.Note("The best single path is %s. The sum of both links is 40 Mbit/s down. A device at home has one address, so that %s and %s have the DSL alone.", t.bestSingle(), testbed.MPTCP, testbed.SOCKS5)
	return nil
}

// bestSingle is the way over one link with the lowest median.
func (t *trial) bestSingle() (best string) {
	least := time.Duration(math.MaxInt64)
	for _, w := range t.Single() {
		if p, ok := t.percentile(w.Name, 50); ok && p < least {
			least, best = p, w.Name
		}
	}
	return best
}

// judgeFaster counts on how many pages a way is faster than another one. Both
// have loaded the same pages in the same order.
func (t *trial) judgeFaster(way, base string) {
	a, b := t.totals[way], t.totals[base]
	if a == nil || b == nil || len(a.Samples) != len(b.Samples) {
		return // a page that failed is told already
	}
	faster, gain := 0, 0.0
	for i := range a.Samples {
		if a.Samples[i].Took < b.Samples[i].Took {
			faster++
		}
		gain += float64(a.Samples[i].Took) / float64(b.Samples[i].Took)
	}
	n := len(a.Samples)
	t.r.Ours(fig57, "%.0f %% of pages are faster over %s than over %s", 100*float64(faster)/float64(n), way, base)
	t.r.Judge(faster*10 >= n*7, fmt.Sprintf("70 %% of pages are faster over %s than over the best single path", way),
		"%d of %d, %.0f %% of its load time on average", faster, n, 100*gain/float64(n))
}
