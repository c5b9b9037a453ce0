// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bpf"
)

var weightedSplit = experiment.Experiment{
	ID:       "options-weighted",
	Title:    "Shares by weight",
	Question: "Do two paths carry the shares that were asked for?",
	Setup:    "Download for 8 s over two paths of 20 Mbit/s, 20 ms one way, with queues of 60 ms; cubic. Shares are those of the payload sent.",
	Takes:    30 * time.Second, Quick: 2 * time.Second,
	Run: measureWeighted,
}

var overflowing = experiment.Experiment{
	ID:       "options-overflow",
	Title:    "The cheapest path first",
	Question: "Does the second path rest while the first has room, help when it has not, and rest again?",
	Setup:    "Two paths of 20 Mbit/s, 20 ms one way, with queues of 60 ms; cubic; scheduler overflow. Messages of 5 kB every 4 ms, which is half of the first path; then as much as goes; then messages again.",
	Takes:    40 * time.Second, Quick: 3 * time.Second,
	Run: measureOverflow,
}

func measureWeighted(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	hold := 8 * time.Second
	if e.Quick {
		hold = 300 * time.Millisecond
	}
	s, err := newStage(ctx, twoPaths(pathDelay, 0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r.Columns("asked", "measured, %", "goodput, Mbit/s", "possible, Mbit/s")
	var bars []figure.Bar
	worst := 0.0
	for i, asked := range []uint8{50, 80, 95} {
		var p bpf.Policy
		p.Scheduler = bpf.Weighted
		p.Paths[0].Weight, p.Paths[1].Weight = asked, 100-asked
		d, err := s.carry(ctx, p, bulkStream, hold)
		if err != nil {
			return err
		}
		share := 100 * float64(d.Paths[0]) / float64(d.Paths[0]+d.Paths[1])
		worst = max(worst, math.Abs(share-float64(asked)))
		r.Record("split", map[string]float64{"asked": float64(asked), "measured": share, "goodput_mbit_per_second": d.Goodput})
		r.Row(fmt.Sprintf("%d/%d", asked, 100-asked), fmt.Sprintf("%.1f/%.1f", share, 100-share), fmt.Sprintf("%.1f", d.Goodput),
			fmt.Sprintf("%.1f", pathRate/1e6*100/float64(asked)))
		bars = append(bars, figure.Bar{Name: fmt.Sprintf("%d asked", asked), Value: share})
		e.Step(i+1, 3, "%d asked, %.1f measured", asked, share)
	}
	r.Judge(worst <= 3, "shares within 3 points of what was asked", "%.1f points at most", worst)
	r.Plot("", figure.Bars(figure.Axes{Title: "Shares by weight", Y: "share of the first path, %"}, bars...))
	return nil
}

func measureOverflow(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	hold := 8 * time.Second
	if e.Quick {
		hold = 500 * time.Millisecond
	}
	s, err := newStage(ctx, twoPaths(pathDelay, 0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	alone, err := s.alone(ctx, hold/4, hold/2)
	if err != nil {
		return err
	}
	p := bpf.Policy{Scheduler: bpf.Overflow}
	light, err := s.carry(ctx, p, stream{size: 5000, every: 4 * time.Millisecond}, hold)
	if err != nil {
		return err
	}
	e.Step(1, 2, "light load: %d bytes on the second path", light.Paths[1])
	d, err := s.bulk(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(s.steer(d.connection, p), await.Pause(ctx, hold/4)); err != nil {
		return errors.Join(err, d.end())
	}
	m := d.watch()
	err = await.Pause(ctx, hold)
	t, meterErr := m.stop()
	if err := errors.Join(err, meterErr, d.end()); err != nil {
		return err
	}
	whole := t.rate(total, 0, hold)
	opened, rested, err := s.openAndRest(ctx, p, hold)
	if err != nil {
		return err
	}
	share := 100 * float64(light.Paths[1]) / float64(light.Paths[0]+light.Paths[1])
	r.Record("overflow", map[string]float64{"light_share_percent": share, "goodput_mbit_per_second": whole, "sum_mbit_per_second": alone.sum(),
		"opened_ms": opened, "rested_ms": rested})
	r.Columns("", "")
	r.Row("on the second path while the first has room", fmt.Sprintf("%.2f %%", share))
	r.Row("goodput of bulk", fmt.Sprintf("%.1f Mbit/s", whole))
	r.Row("sum of both paths alone", fmt.Sprintf("%.1f Mbit/s", alone.sum()))
	r.Row("second path opens after", settled(opened))
	r.Row("second path rests after", settled(rested))
	r.Judge(share <= 1, "at most 1 % on the second path while the first has room", "%.2f %%", share)
	r.Judge(whole >= 0.93*alone.sum(), "at least 0.93 of the sum when it has not", "%.1f of %.1f Mbit/s, %.2f", whole, alone.sum(), whole/alone.sum())
	return nil
}

// openAndRest is how long bulk waits for the second path, and how long after the
// end of bulk that carries something, in ms; -1 if it does not come to that.
func (s *stage) openAndRest(ctx context.Context, p bpf.Policy, hold time.Duration) (opened, rested float64, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer c.abort()
	if err := errors.Join(c.settle(ctx), s.steer(c, p)); err != nil {
		return 0, 0, err
	}
	opened, rested = -1, -1
	limited := func() (bool, error) {
		state, err := s.steering.State(c.serverToken)
		return state[1].Limit == 0, err
	}
	watch := func(want bool, within time.Duration, found *float64) error {
		start := time.Now()
		err := await.Until(ctx, within, time.Millisecond, "change", func() (bool, error) {
			now, err := limited()
			return now == want, err
		})
		if err == nil {
			*found = figure.Milliseconds(time.Since(start))
		}
		if errors.Is(err, await.ErrNotInTime) {
			return nil
		}
		return err
	}
	began := make(chan error, 1)
	go func() { began <- watch(false, hold, &opened) }()
	_, err = c.deliver(ctx, bulkStream, hold)
	if err = errors.Join(err, <-began); err != nil || opened < 0 {
		return opened, rested, err
	}
	// A trickle follows until it rests: paths decide when ACKs come.
	trickling, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- watch(true, patience, &rested); stop() }()
	_, err = c.deliver(trickling, stream{size: bulkStream.size, every: 20 * time.Millisecond}, patience)
	if errors.Is(err, context.Canceled) {
		err = ctx.Err()
	}
	return opened, rested, errors.Join(err, <-ended)
}
