// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// loads are the rates of arrivals, as shares of what one link carries.
var loads = []float64{0.5, 0.9, 1.4}

// answers of requests, and what one takes of a link on average: the answer in
// segments, the handshakes and the acknowledgements about.
var answers = workload.Range{Min: 2000, Max: 18000}

const bytesPerAnswer = 10_000*1514/1428 + 400

// requests puts requests on all ways in turns, at rates below and above what
// one link carries.
func requests(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	t, err := newTrial(ctx, e, r, "two-path", "tcp wifi", "tcp cell", testbed.MPTCP, testbed.SOCKS5, testbed.Transparent, testbed.Forward, testbed.Redundant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if !e.Quick {
		t.addPeers(ctx)
	}
	_, down := t.Rates()
	full := float64(down[0]) / 8 / bytesPerAnswer // per second
	length := 2 * time.Second
	if e.Quick {
		length = 100 * time.Millisecond
	}
	byLoad := map[float64]map[string]*workload.Result{}
	for _, load := range loads {
		byLoad[load] = map[string]*workload.Result{}
		for _, w := range t.ways {
			byLoad[load][w.Name] = workload.NewResult()
		}
	}
	if err := t.turns(ctx, e.Rounds(3, 1), func(ctx context.Context, w testbed.Way, round int) (experiment.Measured, error) {
		m := experiment.Measured{}
		for _, load := range loads {
			got, err := t.run(ctx, w, workload.Exchanges{
				Seed: e.Seed + uint64(round), PerSecond: load * full, Count: int(load * full * length.Seconds()),
				Request: workload.Fixed(300), Answer: answers,
			})
			if err != nil {
				return nil, err
			}
			if got.Done == 0 {
				return nil, errors.New(got.Error)
			}
			byLoad[load][w.Name].Merge(got)
			m[fmt.Sprintf("p50 at %g", load)] = figure.Milliseconds(got.Latency.Percentile(50))
			m[fmt.Sprintf("p99 at %g", load)] = figure.Milliseconds(got.Latency.Percentile(99))
		}
		return m, nil
	}); err != nil {
		return err
	}
	r.Summary()
	r.NextTable("shares of the links, and what failed")
	r.Columns("", "bytes by link", "requests", "failed", "the first for")
	for _, w := range t.ways {
		total := t.totals[w.Name]
		r.Row(w.Name, t.links(w), fmt.Sprint(total.Done), fmt.Sprint(total.Failed), total.Error)
	}
	t.judgeComplete("requests", testbed.SOCKS5, testbed.Transparent, testbed.Forward, testbed.Redundant)
	for _, load := range loads {
		t.totals = byLoad[load]
		name := fmt.Sprintf("%g", load)
		r.Plot("load"+name[:1]+name[2:], t.cdf(fmt.Sprintf("Requests at %s times the rate of one link", name), "from when it was due to the last byte of its answer, ms"))
		for _, w := range t.ways {
			total := *byLoad[load][w.Name]
			total.Samples = nil
			r.Record("latency", map[string]any{"load": load, "way": w.Name, "result": &total})
		}
	}
	// t.totals are those of the highest load now.
	for _, way := range []string{testbed.SOCKS5, testbed.Transparent, testbed.Forward} {
		t.judgeBelow(99, way, t.bestSingle(), "beyond what one link carries")
	}
	r.Note("The best single path is tcp wifi or tcp cell, which are alike; the sum of both is 40 Mbit/s. A rate of 1 is %.0f requests per second.", full)
	r.Note("Requests on connections of their own use their first link for the most part: a second subflow takes two round trips to be there.")
	return nil
}
