// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// The arms, and net.mptcp.stale_loss_cnt of each.
const (
	soon, soonCount     = "as Tandem sets it", "1"
	kernels, kernelsCnt = "as the kernel does", "4"
)

const (
	metricCarried = "of what the other link carries"
	metricWorst   = "worst second"
)

// silent has links die without their hosts noticing, in the course of a
// transfer, with Tandem's setting and with the kernel's own in turns.
func silent(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	lasts, between := 3*time.Second, 2*time.Second
	if e.Quick {
		lasts, between = 700*time.Millisecond, 200*time.Millisecond
	}
	s, err := newStage(ctx, e, stageSpec{
		links: lab.TwoPathSpec{
			WiFi: lab.LinkSpec{Rate: linkRate, Emulate: true},
			Cell: lab.LinkSpec{Rate: linkRate, Emulate: true},
		},
		client: "manager: fullmesh, interfaces: [wifi, cell]",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d, err := s.download(endless)
	if err != nil {
		return err
	}
	arm := func(name, count string) experiment.Arm {
		return experiment.Arm{Name: name, Measure: func(ctx context.Context, round int) (experiment.Measured, error) {
			for _, h := range []*lab.Host{s.Client, s.Aggregator} {
				if err := h.Sysctl("net.mptcp.stale_loss_cnt", count); err != nil {
					return nil, err
				}
			}
			link := &s.WiFi
			if round%2 == 1 {
				link = &s.Cell
			}
			return silence(ctx, d, link, lasts, between)
		}}
	}
	if err := r.Turns(ctx, e.Rounds(9, 1), arm(soon, soonCount), arm(kernels, kernelsCnt)); err != nil {
		return err
	}
	r.Summary()
	hashErr := d.stop(ctx)
	c := r.Compare(metricCarried, soon, kernels)
	r.Judge(c.Ratio > 1, "a transfer receives more while a link is silent than as the kernel does", "%s", c)
	r.Judge(hashErr == nil, "nothing lost, hash right", "%s", outcome(hashErr))
	r.Plot("", r.Bars(metricCarried, "What a download receives in three seconds in which one of its links is silent"))
	return nil
}

// silence makes a link silent for a while, once both are in use.
func silence(ctx context.Context, d *download, link *lab.Access, lasts, between time.Duration) (experiment.Measured, error) {
	before, err := link.Counters()
	if err != nil {
		return nil, err
	}
	if err := await.Until(ctx, 15*time.Second, 5*time.Millisecond, "data over the link", func() (bool, error) {
		now, err := link.Counters()
		return now.BToA-before.BToA >= afterReturn, err
	}); err != nil {
		return nil, err
	}
	if err := await.Pause(ctx, between); err != nil {
		return nil, err
	}
	if err := link.SetLoss(emulator.RandomLoss(1)); err != nil {
		return nil, err
	}
	samples := watchGoodput(d, time.Now())
	received := d.received.Load()
	pauseErr := await.Pause(ctx, lasts)
	received = d.received.Load() - received
	g := samples()
	if err := errors.Join(pauseErr, link.SetLoss(emulator.Loss{})); err != nil {
		return nil, err
	}
	m := experiment.Measured{metricCarried: 100 * float64(received) * 8 / (payloadRate * lasts.Seconds())}
	if _, rates := g.windows(int(time.Second / sampleEvery)); len(rates) > 0 {
		m[metricWorst] = slices.Min(rates)
	}
	return m, nil
}
