// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// tunnels holds idle tunnels on one way after the other.
func tunnels(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	t, err := newTrial(ctx, e, r, "two-path", testbed.SOCKS5, testbed.Transparent, testbed.Forward, testbed.Redundant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	relays := map[string]measure.Group{}
	for _, w := range t.ways {
		relays[w.Name] = measure.Group{PGID: t.AtAggregator.Pid()}
	}
	for _, p := range t.peers() {
		if e.Quick {
			break // tests of the bed start them
		}
		w, i, err := t.Start(ctx, p)
		if err != nil {
			r.Out(p.Name, err)
			continue
		}
		t.ways, t.mayFail[w.Name], relays[w.Name] = append(t.ways, w), true, i.Group
	}
	t.reset()
	if err := t.turns(ctx, 1, func(ctx context.Context, w testbed.Way, _ int) (experiment.Measured, error) {
		return t.hold(ctx, w, relays[w.Name])
	}); err != nil {
		return err
	}
	r.Summary()
	r.NextTable("wake-ups, and shares of the links")
	r.Columns("", "tunnels back", "failed", "p50 ms", "p95 ms", "p99 ms", "max ms", "bytes by link")
	for _, w := range t.ways {
		total := t.totals[w.Name]
		l := total.Latency
		r.Row(w.Name, fmt.Sprint(total.Done), fmt.Sprint(total.Failed), ms(l.Percentile(50)), ms(l.Percentile(95)), ms(l.Percentile(99)), ms(l.Max()), t.links(w))
	}
	r.Plot("", r.Bars("memory", "Memory of the aggregator's relay per idle tunnel"))
	t.judgeComplete("tunnels", testbed.SOCKS5, testbed.Transparent, testbed.Forward, testbed.Redundant)
	r.Note("The ways of Tandem end in one process, which keeps memory that it has had: the first of them, %s, shows what a tunnel takes.", testbed.SOCKS5)
	r.Note("Tunnels of MPTCP have a subflow on each link while idle. A wake-up is the exchange after the pause: the round trip of the best single path is 40 ms. No tunnel sends enough for the sum of both links to play a part.")
	return nil
}

// hold holds tunnels through a relay and reads what that has.
func (t *trial) hold(ctx context.Context, w testbed.Way, relay measure.Group) (experiment.Measured, error) {
	before, err := settled(ctx, relay)
	if err != nil {
		return nil, err
	}
	var held []measure.Usage
	load := workload.Tunnels{Count: 2000, Idle: 5 * time.Second}
	if t.e.Quick {
		load.Count, load.Idle = 100, 200*time.Millisecond
	}
	load.Held = func(ctx context.Context, _ int) error {
		// What opening them has left is not part of idling.
		if err := await.Pause(ctx, load.Idle/5); err != nil {
			return err
		}
		u, err := relay.Usage()
		held = append(held, u)
		return err
	}
	got, err := t.run(ctx, w, load)
	if err != nil {
		return nil, err
	}
	if got.Done == 0 {
		return nil, errors.New(got.Error)
	}
	n := float64(load.Count)
	return experiment.Measured{
		"memory":      float64(held[1].Memory-before.Memory) / 1000 / n,
		"descriptors": float64(held[1].Descriptors-before.Descriptors) / n,
		"idle CPU":    float64((held[1].CPU - held[0].CPU).Milliseconds()) / (load.Idle + load.Idle/5).Seconds(),
		"wake-up p99": figure.Milliseconds(got.Latency.Percentile(99)),
		"failed":      float64(got.Failed),
	}, nil
}

// settled waits until a relay has closed what it had for the way before, and
// reads what it has then.
func settled(ctx context.Context, relay measure.Group) (measure.Usage, error) {
	const still, patience = 10, 60 * time.Second // readings, and for how long
	last, err := relay.Usage()
	deadline := time.Now().Add(patience)
	for same := 0; err == nil && same < still; {
		if err := await.Pause(ctx, 50*time.Millisecond); err != nil {
			return last, err
		}
		before := last.Descriptors
		last, err = relay.Usage()
		if same++; last.Descriptors != before {
			same = 0
		}
		if time.Now().After(deadline) {
			return last, fmt.Errorf("%d descriptors have not settled within %v", last.Descriptors, patience)
		}
	}
	return last, err
}
