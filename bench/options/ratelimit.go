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
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
)

var rateLimit = experiment.Experiment{
	ID:       "options-rate-limit",
	Title:    "A rate limit for one path",
	Question: "Does the second path keep to the rate that the receiver asks for in the middle of a transfer, and the first one to its own?",
	Setup:    "Download over two paths of 20 Mbit/s, 20 ms one way, with queues of 60 ms; cubic. The client asks for subflow-rate-limit=2:CAP in a TCP option. Rates are those of the payload that arrives on each path.",
	Published: []experiment.Published{
		{Source: fig611, Value: "the second path holds about 4 Mbit/s after the request"},
	},
	Takes: 75 * time.Second, Quick: 4 * time.Second,
	Run: measureRateLimit,
}

const (
	fig611 = "thesis, fig 6.11"

	pathRate  = 20_000_000
	pathDelay = 20 * time.Millisecond
	mainCap   = 4_000_000
	// within is how close to a cap the rate has to be.
	within = 0.05
	// segment is the payload of a full packet.
	segment = 1400
)

var caps = []uint64{256_000, 512_000, 1_000_000, 2_000_000, mainCap, 8_000_000, 15_000_000}

// capped is what a cap came to.
type capped struct {
	Cap uint64 `json:"cap_bit_per_second"`
	// Granted is from the request until the server has put it into force, Settled
	// until windows begin that are within 5 %, -1 for never. RTT is the round trip
	// at the time.
	Granted float64 `json:"granted_ms"`
	Settled float64 `json:"settled_ms"`
	RTT     float64 `json:"rtt_ms"`
	// Held is the rate from half a second after the request on, Worst the window
	// that is farthest from the cap.
	Held  float64 `json:"held_mbit_per_second"`
	Worst float64 `json:"worst_error"`
	First float64 `json:"first_path_mbit_per_second"`
	Whole float64 `json:"goodput_mbit_per_second"`

	series trace
	asked  time.Duration
	width  time.Duration
}

func measureRateLimit(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	warm, hold, list := 2*time.Second, 4*time.Second, caps
	if e.Quick {
		warm, hold, list = 100*time.Millisecond, 300*time.Millisecond, []uint64{mainCap}
	}
	s, err := newStage(ctx, twoPaths(pathDelay, 0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	alone, err := s.alone(ctx, warm, hold)
	if err != nil {
		return err
	}
	r.Record("alone", alone)
	var all []capped
	for i, limit := range list {
		c, err := s.capPath(ctx, limit, warm, hold)
		if err != nil {
			return fmt.Errorf("cap of %d bit/s: %w", limit, err)
		}
		r.Record("cap", c)
		e.Step(i+1, len(list)+1, "%.3f Mbit/s: held %.3f, within 5 %% after %.0f ms", float64(limit)/1e6, c.Held, c.Settled)
		all = append(all, c)
	}
	z, err := s.closePath(ctx, warm, hold/2)
	if err != nil {
		return fmt.Errorf("cap of 0: %w", err)
	}
	r.Record("zero", z)
	e.Step(len(list)+1, len(list)+1, "0: closed after %.0f ms", z.Closed)
	tellCaps(r, all, z, alone)
	return nil
}

// twoPaths are two equal links; a queue of 0 bytes is that of 60 ms.
func twoPaths(delay time.Duration, queue uint32) stageSpec {
	link := lab.LinkSpec{Rate: pathRate, Delay: delay, Queue: queue}
	return stageSpec{links: lab.TwoPathSpec{WiFi: link, Cell: link}, congestion: "cubic"}
}

// baseline is what one path alone can do, and both as the kernel uses them, in
// Mbit/s of payload.
type baseline struct {
	First  float64 `json:"first_mbit_per_second"`
	Second float64 `json:"second_mbit_per_second"`
	Kernel float64 `json:"kernel_mbit_per_second"`
}

func (b baseline) best() float64 { return max(b.First, b.Second) }
func (b baseline) sum() float64  { return b.First + b.Second }

// alone measures each path alone and both with the kernel's own scheduler.
func (s *stage) alone(ctx context.Context, warm, hold time.Duration) (b baseline, err error) {
	var first, second bpf.Policy
	first.Scheduler, second.Scheduler = bpf.Weighted, bpf.Weighted
	first.Paths[0].Weight, second.Paths[1].Weight = 1, 1
	for _, x := range []struct {
		policy bpf.Policy
		rate   *float64
	}{{first, &b.First}, {second, &b.Second}, {bpf.Policy{}, &b.Kernel}} {
		if *x.rate, err = s.goodput(ctx, x.policy, warm, hold); err != nil {
			return b, err
		}
	}
	return b, nil
}

// goodput of a download under a policy, in Mbit/s.
func (s *stage) goodput(ctx context.Context, p bpf.Policy, warm, hold time.Duration) (float64, error) {
	d, err := s.bulk(ctx)
	if err != nil {
		return 0, err
	}
	err = s.steer(d.connection, p)
	if err == nil {
		err = await.Pause(ctx, warm)
	}
	m := d.watch()
	err = errors.Join(err, await.Pause(ctx, hold))
	t, meterErr := m.stop()
	if err := errors.Join(err, meterErr, d.end()); err != nil {
		return 0, err
	}
	return t.rate(total, 0, hold), nil
}

// bulk begins a download that both paths carry.
func (s *stage) bulk(ctx context.Context) (*download, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	d := startDownload(c)
	err = s.steer(c, bpf.Policy{})
	if err = errors.Join(err, c.twoSubflows(ctx)); err != nil {
		return nil, errors.Join(err, d.end())
	}
	return d, nil
}

func (s *stage) capPath(ctx context.Context, limit uint64, warm, hold time.Duration) (c capped, err error) {
	c.Cap = limit
	// A window holds enough packets to tell 5 % by.
	c.width = max(250*time.Millisecond, time.Duration(40*segment*8*float64(time.Second)/float64(limit)))
	hold = max(hold, 4*c.width)
	d, err := s.bulk(ctx)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, s.served(), d.end()) }()
	m := d.watch()
	err = await.Pause(ctx, warm)
	var before sample
	if err == nil {
		before, err = m.last()
	}
	c.asked = m.now()
	if err == nil {
		err = s.ask(d.connection, options.SubflowRateLimit, fmt.Sprintf("2:%dkbit", limit/1000))
	}
	if err == nil {
		err = await.Pause(ctx, hold)
	}
	t, meterErr := m.stop()
	if err = errors.Join(err, meterErr); err != nil {
		return c, err
	}
	granted, err := s.grantedAt(ctx, d.connection, options.SubflowRateLimit)
	if err != nil {
		return c, err
	}
	c.Granted = figure.Milliseconds(granted.Sub(m.start) - c.asked)
	c.RTT = figure.Milliseconds(before.rtt[1])
	c.series = t
	c.judge(c.asked + hold)
	return c, nil
}

// judge works out what a cap came to by the end.
func (c *capped) judge(end time.Duration) {
	limit := float64(c.Cap) / 1e6
	off := func(from time.Duration) float64 {
		return math.Abs(c.series.rate(onPath(1), from, from+c.width)/limit - 1)
	}
	c.Settled = -1
	for from := c.asked; from+c.width <= end; from += sampleEvery {
		if off(from) <= within {
			c.Settled = figure.Milliseconds(from - c.asked)
			break
		}
	}
	steady := c.asked + 500*time.Millisecond
	c.Held = c.series.rate(onPath(1), steady, end)
	c.First = c.series.rate(onPath(0), steady, end)
	c.Whole = c.series.rate(total, steady, end)
	for from := steady; from+c.width <= end; from += sampleEvery {
		c.Worst = max(c.Worst, off(from))
	}
}
