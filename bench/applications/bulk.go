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

// lengthOf transfers on one link of the rate that they are made for.
const lengthOf = 4 * time.Second

func bulkTwoPath(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	return bulk(ctx, e, r, "two-path", true, testbed.SOCKS5, testbed.Transparent, testbed.Forward)
}

func bulkHome(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	return bulk(ctx, e, r, "hybrid-home", false, testbed.Transparent, testbed.Forward)
}

// bulk has a download and an upload on all ways in turns.
func bulk(ctx context.Context, e *experiment.Env, r *experiment.Result, preset string, others bool, aggregating ...string) (err error) {
	t, err := newTrial(ctx, e, r, preset, append([]string{"tcp wifi", "tcp cell", "tcp dsl", "tcp lte", testbed.MPTCP, testbed.Redundant},
		testbed.SOCKS5, testbed.Transparent, testbed.Forward)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if others && !e.Quick {
		t.addPeers(ctx)
	}
	up, down := t.Rates()
	seconds := lengthOf.Seconds()
	if e.Quick {
		seconds /= 40
	}
	if err := t.turns(ctx, e.Rounds(5, 1), func(ctx context.Context, w testbed.Way, _ int) (experiment.Measured, error) {
		m := experiment.Measured{}
		for _, transfer := range []struct {
			name string
			up   bool
			rate uint64
		}{{"down", false, down[0]}, {"up", true, up[0]}} {
			got, err := t.run(ctx, w, workload.Bulk{Up: transfer.up, Streams: 1, Bytes: int64(float64(transfer.rate) / 8 * seconds)})
			if err != nil {
				return nil, err
			}
			if got.Failed > 0 {
				return nil, errors.New(got.Error)
			}
			m[transfer.name] = got.Rate() / 1e6
		}
		return m, nil
	}); err != nil {
		return err
	}
	r.Summary()
	r.Plot("", r.Bars("down", "Goodput of one download"))
	t.aggregation(aggregating)
	return nil
}

// aggregation compares rates with the best single path and the sum.
func (t *trial) aggregation(aggregating []string) {
	t.r.NextTable("beside single paths")
	t.r.Columns("", "down, of the best single path", "down, of the sum", "up, of the best single path", "up, of the sum", "bytes by link")
	best, sum := map[string]float64{}, map[string]float64{}
	for _, direction := range []string{"down", "up"} {
		for _, w := range t.Single() {
			rate := figure.Median(t.r.Values(w.Name, direction))
			best[direction] = max(best[direction], rate)
			sum[direction] += rate
		}
	}
	of := func(way, direction string, base map[string]float64) string {
		return fmt.Sprintf("%.0f %%", 100*figure.Median(t.r.Values(way, direction))/base[direction])
	}
	for _, w := range t.ways {
		if len(t.r.Values(w.Name, "down")) == 0 {
			continue // out
		}
		t.r.Row(w.Name, of(w.Name, "down", best), of(w.Name, "down", sum), of(w.Name, "up", best), of(w.Name, "up", sum), t.links(w))
	}
	t.r.Note("The best single path has %s down and %s Mbit/s up; the sum of the single paths is %s and %s.",
		experiment.Number(best["down"]), experiment.Number(best["up"]), experiment.Number(sum["down"]), experiment.Number(sum["up"]))
	for _, way := range aggregating {
		rate := figure.Median(t.r.Values(way, "down"))
		t.r.Judge(rate > best["down"], way+": a download is faster than over the best single path", "%s against %s Mbit/s, %.0f %% of the sum",
			experiment.Number(rate), experiment.Number(best["down"]), 100*rate/sum["down"])
	}
}
