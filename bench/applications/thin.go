// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// thin has thin streams on all ways at once, up and down.
func thin(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	t, err := newTrial(ctx, e, r, "phone", "tcp wifi", "tcp cell", testbed.MPTCP, testbed.Forward, testbed.Following, testbed.Redundant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	rounds := e.Rounds(5, 1)
	for i, up := range []bool{true, false} {
		t.reset()
		title, name := "down", "down"
		if up {
			title, name = "up", "up"
		}
		for round := range rounds {
			load := workload.Thin{Up: up, Size: 100, Interval: 30 * time.Millisecond, Count: e.Rounds(200, 20)}
			// Several streams of a way meet more of the losses.
			several := workload.Beside{Workloads: []workload.Workload{load, load, load}, Apart: 10 * time.Millisecond}
			by, err := t.together(ctx, several, nil)
			if err != nil {
				return err
			}
			for way, one := range by {
				t.add(way, i*rounds+round, one)
			}
			e.Step(i*rounds+round+1, 2*rounds, "%s: p99 of %s %s ms", title, testbed.Redundant, ms(by[testbed.Redundant].Latency.Percentile(99)))
		}
		t.latencies(title, "messages")
		r.Plot(name, t.cdf("Messages of thin streams, "+title, "one-way latency, ms"))
		t.judgeComplete("messages "+title, testbed.Forward, testbed.Following, testbed.Redundant)
		t.judgeBelow(99, testbed.Redundant, testbed.Forward, "every byte on all links")
		t.judgeBelow(99, testbed.Redundant, "tcp wifi", "every byte on all links")
	}
	r.Note("The best single path is the better one of tcp wifi and tcp cell. The rate of messages is far below that of either link, so that the sum of both plays no part.")
	return nil
}
