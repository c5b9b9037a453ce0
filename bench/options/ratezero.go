// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/mptcp/pm"
	"github.com/tandem-gateway/tandem/options"
)

// closed is what became of a path that was asked to be closed.
type closed struct {
	// Silent is from the request until the last byte on the path, Closed until
	// its subflow was gone.
	Silent float64 `json:"silent_ms"`
	Closed float64 `json:"closed_ms"`
	// After is the goodput on the other path alone, once it was.
	After float64 `json:"after_mbit_per_second"`
	// Right tells that no byte was lost or doubled.
	Right bool `json:"right"`

	series trace
	asked  time.Duration
}

// closePath asks for a rate of 0 on the second path. The server drains it, and
// the client takes its address back when there is nothing more to come.
func (s *stage) closePath(ctx context.Context, warm, hold time.Duration) (z closed, err error) {
	d, err := s.bulk(ctx)
	if err != nil {
		return z, err
	}
	m := d.watch()
	err = await.Pause(ctx, warm)
	z.asked = m.now()
	if err == nil {
		err = s.ask(d.connection, options.SubflowRateLimit, "2:0")
	}
	if err == nil {
		_, err = s.answerTo(ctx, d.connection, options.SubflowRateLimit)
	}
	if err == nil {
		err = await.Until(ctx, patience, time.Millisecond, "an empty second path", func() (bool, error) {
			state, err := s.steering.State(d.serverToken)
			return state[1].Limit == 0 && state[1].Queued == 0, err
		})
	}
	if err == nil {
		err = s.withdraw()
	}
	if err == nil {
		err = await.Until(ctx, patience, time.Millisecond, "the end of the second subflow", func() (bool, error) {
			list, err := subflows(d.server)
			return len(list) == 1, err
		})
	}
	over := m.now()
	if err == nil {
		err = await.Pause(ctx, hold)
	}
	t, meterErr := m.stop()
	endErr := d.end()
	z.Right = endErr == nil
	if errors.Is(endErr, errOtherBytes) {
		endErr = nil // which the verdict shows
	}
	if err := errors.Join(err, meterErr, endErr, s.served()); err != nil {
		return z, err
	}
	z.series = t
	z.Closed = figure.Milliseconds(over - z.asked)
	final := t[len(t)-1].paths[1]
	for _, x := range t {
		if x.paths[1] == final {
			z.Silent = figure.Milliseconds(x.at - z.asked)
			break
		}
	}
	z.After = t.rate(total, over, over+hold)
	return z, nil
}

// withdraw takes the endpoint of the second link back, which closes its
// subflows.
func (s *stage) withdraw() error {
	return s.Client.Do(func() error {
		c, err := pm.Dial(pm.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.Endpoints()
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Addr == s.Cell.Addr.V4 {
				return c.DeleteEndpoint(e.ID, e.Addr)
			}
		}
		return errors.New("the second link has no endpoint")
	})
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
	r.Judge(z.Right, "a cap of 0 loses and doubles nothing", "last byte on the path after %.0f ms, subflow closed after %.0f ms, %s", z.Silent, z.Closed, right(z.Right))
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
	return errOtherBytes.Error()
}
