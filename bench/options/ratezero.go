// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netns"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/paths"
)

// closed is what became of a path that was asked to be closed.
type closed struct {
	// Silent is from the request until the last byte on the path, Closed until
	// its subflow was gone, Again from when the request was taken back until the
	// path brought bytes.
	Silent float64 `json:"silent_ms"`
	Closed float64 `json:"closed_ms"`
	Again  float64 `json:"again_ms"`
	// After is the goodput on the other path alone, once it was.
	After float64 `json:"after_mbit_per_second"`
	// Right tells that no byte was lost or doubled.
	Right bool `json:"right"`

	series trace
	asked  time.Duration
}

// closePath asks for a rate of 0 on the second path, and takes that back. The
// server drains it, and the client's path manager closes and opens the subflow.
func (s *stage) closePath(ctx context.Context, warm, hold time.Duration) (z closed, err error) {
	release, err := s.manage()
	if err != nil {
		return z, err
	}
	defer func() { err = errors.Join(err, release()) }()
	d, err := s.bulk(ctx)
	if err != nil {
		return z, err
	}
	m := d.watch()
	over, err := s.closeAndOpen(ctx, d, m, &z, warm, hold)
	t, meterErr := m.stop()
	endErr := d.end()
	z.Right = endErr == nil
	if errors.Is(endErr, workload.ErrOtherBytes) {
		endErr = nil // which the verdict shows
	}
	if err := errors.Join(err, meterErr, endErr, s.served()); err != nil {
		return z, err
	}
	z.series = t
	// The last sample before the path came back.
	var rest []sample
	for _, x := range t {
		if x.at <= over+hold {
			rest = append(rest, x)
		}
	}
	for _, x := range rest {
		if x.paths[1] == rest[len(rest)-1].paths[1] {
			z.Silent = figure.Milliseconds(x.at - z.asked)
			break
		}
	}
	z.After = t.rate(total, over, over+hold)
	return z, nil
}

// closeAndOpen returns when the subflow was gone.
func (s *stage) closeAndOpen(ctx context.Context, d *download, m *meter, z *closed, warm, hold time.Duration) (over time.Duration, err error) {
	if err := await.Pause(ctx, warm); err != nil {
		return 0, err
	}
	z.asked = m.now()
	if err := s.ask(d.connection, options.SubflowRateLimit, "2:0"); err != nil {
		return 0, err
	}
	s.manager.Drain(d.clientToken, []int{2}, nil)
	one := func() (bool, error) {
		list, err := subflows(d.server)
		return len(list) == 1, err
	}
	if err := await.Until(ctx, patience, time.Millisecond, "the end of the second subflow", one); err != nil {
		return 0, err
	}
	over = m.now()
	z.Closed = figure.Milliseconds(over - z.asked)
	if err := await.Pause(ctx, hold); err != nil {
		return 0, err
	}
	if only, err := one(); err != nil || !only {
		return 0, errors.Join(err, errors.New("the path came back unasked"))
	}
	back := m.now()
	if err := s.ask(d.connection, options.SubflowRateLimit, "2:default"); err != nil {
		return 0, err
	}
	s.manager.Drain(d.clientToken, nil, nil)
	err = await.Until(ctx, patience, time.Millisecond, "bytes on the second path again", func() (bool, error) {
		list, err := subflows(d.server)
		return len(list) == 2 && list[1].TCP.BytesAcked > 100_000, err
	})
	z.Again = figure.Milliseconds(m.now() - back)
	return over, err
}

// manage leaves the subflows of the client's connections to the product's path
// manager, until release is called.
func (s *stage) manage() (release func() error, err error) {
	ns := netns.None()
	err = s.Client.Do(func() (err error) {
		if ns, err = netns.Get(); err == nil {
			s.manager, err = paths.New(paths.Options{NetNS: int(ns)})
		}
		return err
	})
	return func() error {
		err := s.manager.Close()
		s.manager = nil
		return errors.Join(err, ns.Close())
	}, err
}

func tellCaps(r *experiment.Result, all []capped, z closed, alone baseline) {
	r.NextTable("")
	r.Columns("cap, Mbit/s", "held", "error", "worst window", "in force after", "within 5 % after", "RTT then", "first path", "together")
	var at, asked, held []float64
	worstHeld := 0.0
	for _, c := range all {
		limit := float64(c.Cap) / 1e6
		off := c.Held/limit - 1
		r.Row(fmt.Sprintf("%.3f", limit), fmt.Sprintf("%.3f", c.Held), percent(off), fmt.Sprintf("%.1f %%", 100*c.Worst),
			fmt.Sprintf("%.0f ms", c.Granted), settled(c.Settled), fmt.Sprintf("%.0f ms", c.RTT), fmt.Sprintf("%.1f", c.First), fmt.Sprintf("%.1f", c.Whole))
		at, asked, held = append(at, limit), append(asked, limit), append(held, c.Held)
		worstHeld = max(worstHeld, off, -off)
	}
	r.NextTable("")
	r.Columns("", "Mbit/s")
	r.Row("first path alone", fmt.Sprintf("%.1f", alone.First))
	r.Row("second path alone", fmt.Sprintf("%.1f", alone.Second))
	r.Row("sum", fmt.Sprintf("%.1f", alone.sum()))
	r.Row("both, without a cap", fmt.Sprintf("%.1f", alone.Kernel))
	r.Row("second path closed", fmt.Sprintf("%.1f", z.After))
	for _, c := range all {
		if c.Cap != mainCap {
			continue
		}
		r.Ours(fig611, "%.2f Mbit/s, within 5 %% of 4 Mbit/s after %s", c.Held, settled(c.Settled))
		r.Judge(c.Settled >= 0 && c.Settled <= c.RTT, "within 5 % of 4 Mbit/s within one RTT of the request", "%s, RTT %.0f ms", settled(c.Settled), c.RTT)
		r.Judge(c.Held > (1-within)*4 && c.Held < (1+within)*4, "the second path holds 4 Mbit/s within 5 %", "%.2f Mbit/s, worst window of %v %.1f %% off", c.Held, c.width, 100*c.Worst)
		r.Judge(c.First >= (1-within)*alone.First, "the first path loses no more than 5 % meanwhile", "%.1f of %.1f Mbit/s", c.First, alone.First)
		plotCap(r, c, alone)
	}
	r.Judge(worstHeld <= within, "every cap is held within 5 %", "the worst is %.1f %% off", 100*worstHeld)
	r.Judge(z.Right, "a cap of 0 loses and doubles nothing", "last byte on the path after %.0f ms, subflow closed after %.0f ms; taken back, the path brought bytes after %.0f ms; %s", z.Silent, z.Closed, z.Again, right(z.Right))
	r.Plot("held", figure.Lines(figure.Axes{Title: "Rate of the second path by the cap that was asked for", X: "cap, Mbit/s", Y: "Mbit/s"},
		figure.Series{Name: "asked", X: at, Y: asked}, figure.Series{Name: "measured", X: at, Y: held}))
}

// plotCap draws figure 6.11.
func plotCap(r *experiment.Result, c capped, alone baseline) {
	const width = 200 * time.Millisecond
	x1, first := c.series.windows(onPath(0), width)
	x2, second := c.series.windows(onPath(1), width)
	r.Plot("", figure.Lines(figure.Axes{Title: "Two paths, the second capped at 4 Mbit/s in mid-transfer", X: "time in s", Y: "payload over 200 ms, Mbit/s"},
		figure.Series{Name: "first path", X: x1, Y: first}, figure.Series{Name: "second path", X: x2, Y: second}).
		Mark(figure.Line{Name: "asked", Value: c.asked.Seconds()}).
		Limit(figure.Line{Name: "thesis: about 4 Mbit/s", Value: 4}).
		Limit(figure.Line{Name: "best single path", Value: alone.best()}).
		Limit(figure.Line{Name: "sum of both", Value: alone.sum()}))
}

func percent(share float64) string { return fmt.Sprintf("%+.1f %%", 100*share) }

func settled(ms float64) string {
	if ms < 0 {
		return "never"
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func right(ok bool) string {
	if ok {
		return "hash right"
	}
	return workload.ErrOtherBytes.Error()
}
