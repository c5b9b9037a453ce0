// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/report"
)

// errNoMPTCP is why a peer does not take part.
var errNoMPTCP = errors.New("does not speak MPTCP")

// rates runs a scenario that measures rates: all relays at once, which are idle
// but for one, in turns.
func (t *trial) rates(ctx context.Context) (err error) {
	all := t.contestants()
	defer func() { err = errors.Join(err, stop(all)) }()
	for _, c := range all {
		if err := t.start(ctx, c); err != nil {
			return err
		}
	}
	for run := range t.runs {
		for _, c := range all {
			if c.out {
				continue
			}
			s, err := t.rate(ctx, c, run)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				t.fail(c, run, err)
				continue
			}
			t.add(s, rateText(t.scenario.Kind, s.Rate))
		}
	}
	return nil
}

// rate is one repetition with one relay.
func (t *trial) rate(ctx context.Context, c *contestant, run int) (report.Sample, error) {
	s := t.sample(c, run)
	before, err := c.cpu()
	if err != nil {
		return s, err
	}
	r, err := t.stage.do(ctx, c.job)
	if err != nil {
		return s, err
	}
	after, err := c.cpu()
	if err != nil {
		return s, err
	}
	amount := float64(r.Connections)
	s.Rate = r.PerSecond()
	if t.scenario.bulk() {
		amount, s.Rate = float64(r.Total)/1e9, r.BitsPerSecond()
	}
	if amount > 0 {
		s.Cost = (after - before) / amount
	}
	s.P50, s.P99 = r.P50, r.P99
	if r.Unconfirmed > 0 {
		s.Note = "does not keep half-closed connections: what it may have lost is counted"
	}
	if t.scenario.bulk() {
		return s, failure(&r)
	}
	s.Failed = r.Failed
	if r.Connections == 0 || r.Failed > r.Connections {
		return s, failure(&r)
	}
	return s, nil
}

// failure is the error of a result, if it has one.
func failure(r *load.Result) error {
	switch {
	case r.NotMPTCP:
		return errNoMPTCP
	case r.Error != "":
		return errors.New(r.Error)
	default:
		return nil
	}
}

// cpu is the CPU time of a contestant's relay in seconds.
func (c *contestant) cpu() (float64, error) {
	if c.instance == nil {
		return 0, nil
	}
	cpu, err := c.instance.CPU()
	return cpu.Seconds(), err
}

func rateText(k report.Kind, rate float64) string {
	if k == report.Bulk {
		return fmt.Sprintf("%.2f Gbit/s", rate/1e9)
	}
	return fmt.Sprintf("%.0f conn/s", rate)
}
