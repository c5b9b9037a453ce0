// SPDX-License-Identifier: Apache-2.0

// Package selftest measures emulated links against what was asked of them.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

// Result is one measurement.
type Result struct {
	Property string
	// Asked and Measured are in Unit. OK is whether Measured is within
	// Tolerance of Asked.
	Asked, Measured, Tolerance float64
	Unit                       string
}

// OK reports whether the link does what was asked.
func (r Result) OK() bool { return math.Abs(r.Measured-r.Asked) <= r.Tolerance }

// Tolerances of the measurements.
const (
	rateTolerance  = 0.02 // of the rate
	delayTolerance = 0.3  // ms, at the median
	// deviations of a share are within its confidence interval of 99.9 %.
	deviations = 3.29
)

// Run measures every property of a link in a lab of its own, and calls each for
// every result. It takes about half a minute.
func Run(ctx context.Context, each func(Result)) (err error) {
	l, err := lab.New("selftest")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	m, err := newMeter(l)
	if err != nil {
		return err
	}
	defer m.close()
	for _, measure := range []func(context.Context, func(Result)) error{
		m.rates, m.delays, m.jitter, m.losses, m.reordering, m.queue, m.change, m.outage, m.back,
	} {
		if err := measure(ctx, each); err != nil {
			return fmt.Errorf("self-test: %w", err)
		}
	}
	return nil
}

var (
	addrA = netip.MustParsePrefix("198.51.100.1/24")
	addrB = netip.MustParsePrefix("198.51.100.2/24")
)

func (m *meter) rates(ctx context.Context, each func(Result)) error {
	for _, rate := range []uint64{1e6, 20e6, 100e6, 500e6} {
		if err := m.reset(emulator.Conditions{Rate: rate}); err != nil {
			return err
		}
		got, err := m.throughput(ctx, rate, 2*time.Second)
		if err != nil {
			return err
		}
		each(Result{"rate", float64(rate) / 1e6, got / 1e6, float64(rate) / 1e6 * rateTolerance, "Mbit/s"})
	}
	return nil
}

func (m *meter) delays(ctx context.Context, each func(Result)) error {
	for _, delay := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 150 * time.Millisecond} {
		probes, err := m.probe(ctx, emulator.Conditions{Delay: delay}, 400, 2*time.Millisecond)
		if err != nil {
			return err
		}
		each(Result{"delay, median", millis(delay), quantile(probes.delays(), 0.5), delayTolerance, "ms"})
	}
	return nil
}

// jitter wants the quartiles of a uniform distribution. Probes are too far
// apart to wait for each other.
func (m *meter) jitter(ctx context.Context, each func(Result)) error {
	const delay, jitter, n = 20 * time.Millisecond, 4 * time.Millisecond, 400
	probes, err := m.probe(ctx, emulator.Conditions{Delay: delay, Jitter: jitter}, n, 2*jitter+time.Millisecond)
	if err != nil {
		return err
	}
	d := probes.delays()
	// The quartile distance of a uniform distribution is half its width; its
	// standard error is width/2/sqrt(n).
	tolerance := deviations*millis(jitter)/math.Sqrt(n) + delayTolerance
	each(Result{"jitter, quartile distance", millis(jitter), quantile(d, 0.75) - quantile(d, 0.25), tolerance, "ms"})
	each(Result{"jitter, reordered", 0, probes.overtaken(), 0, "%"})
	return nil
}

func (m *meter) losses(ctx context.Context, each func(Result)) error {
	const n = 10_000
	for _, t := range []struct {
		name  string
		loss  emulator.Loss
		burst float64
	}{
		{"loss, random", emulator.RandomLoss(0.02), 1},
		{"loss, bursts of 5", emulator.BurstLoss(0.05, 5), 5},
	} {
		probes, err := m.probe(ctx, emulator.Conditions{Loss: t.loss}, n, 200*time.Microsecond)
		if err != nil {
			return err
		}
		p := t.loss.Mean()
		// Losses of a burst are not independent: the variance of the simple
		// Gilbert model is that of single losses times this.
		inflation := 1.0
		if t.burst > 1 {
			stay := 1 - t.loss.ToBad - t.loss.ToGood
			inflation = (1 + stay) / (1 - stay)
		}
		tolerance := 100 * deviations * math.Sqrt(p*(1-p)*inflation/n)
		each(Result{t.name, 100 * p, 100 * (1 - float64(len(probes))/n), tolerance, "%"})
		if t.burst > 1 {
			// Lengths are geometric; about n·p/length of them are seen.
			tolerance := deviations * math.Sqrt(t.burst*(t.burst-1)) / math.Sqrt(n*p/t.burst)
			each(Result{"loss, length of bursts", t.burst, probes.lostRun(), tolerance, "packets"})
		}
	}
	return nil
}

func (m *meter) reordering(ctx context.Context, each func(Result)) error {
	const n, p = 1000, 0.1
	// Only neighbours can be overtaken, so that each reordered probe counts.
	probes, err := m.probe(ctx, emulator.Conditions{Delay: 20 * time.Millisecond, Reorder: p}, n, 2*time.Millisecond)
	if err != nil {
		return err
	}
	each(Result{"reordered", 100 * p, probes.early(10), 100 * deviations * math.Sqrt(p*(1-p)/n), "%"})
	return nil
}

// queue sends a burst into a slow link: what waits and the packet in
// transmission come through.
func (m *meter) queue(ctx context.Context, each func(Result)) error {
	const limit = 20
	for _, t := range []struct {
		name  string
		queue emulator.Queue
	}{
		{"queue, in packets", emulator.Queue{Packets: limit}},
		{"queue, in bytes", emulator.Queue{Bytes: limit * (probeSize + overhead)}},
	} {
		probes, err := m.probe(ctx, emulator.Conditions{Rate: 200e3, Queue: t.queue}, 3*limit, 0)
		if err != nil {
			return err
		}
		// A packet may leave while the burst comes in.
		each(Result{t.name, limit, float64(len(probes)), 1, "packets"})
	}
	return nil
}

// change makes the delay longer while probes are on their way.
func (m *meter) change(ctx context.Context, each func(Result)) error {
	const n, distance, longer = 400, 2 * time.Millisecond, 40 * time.Millisecond
	changed := make(chan error, 1)
	timer := time.AfterFunc(n/4*distance, func() {
		changed <- m.link.Change(m.which, func(c *emulator.Conditions) { c.Delay = longer })
	})
	defer timer.Stop()
	probes, err := m.probe(ctx, emulator.Conditions{Delay: 20 * time.Millisecond}, n, distance)
	if err != nil {
		return err
	}
	if err := <-changed; err != nil {
		return err
	}
	each(Result{"delay, changed meanwhile", millis(longer), quantile(probes.after(n*3/4).delays(), 0.5), delayTolerance, "ms"})
	return nil
}

// outage takes the link down and up again.
func (m *meter) outage(ctx context.Context, each func(Result)) error {
	const n = 20
	if err := m.reset(emulator.Conditions{}); err != nil {
		return err
	}
	if err := m.link.Down(); err != nil {
		return err
	}
	_, err := m.from.Write(make([]byte, probeSize))
	refused := 0.0
	if err != nil {
		refused = 100
	}
	if err := m.link.Up(); err != nil {
		return err
	}
	each(Result{"down, seen by the host", 100, refused, 0, "%"})
	probes, err := m.probe(ctx, emulator.Conditions{}, n, time.Millisecond)
	if err != nil {
		return err
	}
	each(Result{"up again, arrived", 100, 100 * float64(len(probes)) / n, 0, "%"})
	return nil
}

// back measures the other direction, with other conditions than this one has.
func (m *meter) back(ctx context.Context, each func(Result)) error {
	if err := m.reset(emulator.Conditions{Rate: 5e6, Delay: 70 * time.Millisecond}); err != nil {
		return err
	}
	b, err := m.reverse()
	if err != nil {
		return err
	}
	defer b.close()
	const rate, delay = 20e6, 20 * time.Millisecond
	if err := b.reset(emulator.Conditions{Rate: rate}); err != nil {
		return err
	}
	got, err := b.throughput(ctx, rate, time.Second)
	if err != nil {
		return err
	}
	each(Result{"rate, other direction", rate / 1e6, got / 1e6, rate / 1e6 * rateTolerance, "Mbit/s"})
	probes, err := b.probe(ctx, emulator.Conditions{Delay: delay}, 200, 2*time.Millisecond)
	if err != nil {
		return err
	}
	each(Result{"delay, other direction", millis(delay), quantile(probes.delays(), 0.5), delayTolerance, "ms"})
	return nil
}
