// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

// part is one load of which a repetition consists.
type part struct {
	workload load.Workload
	mptcp    bool // to the client
	streams  int
	name     string // of its metrics
}

// What else is measured of a part.
const (
	cpuMetric = "CPU"
	p50Metric = "p50"
	p99Metric = "p99"
)

// onlyRate is the name of what is the only part of an experiment.
const onlyRate = "rate"

// metric is the name of something else that is measured of the part.
func (p *part) metric(what string) string {
	if p.name == onlyRate {
		return what
	}
	return what + " " + p.name
}

func (p *part) lane() lane { return lane{p.workload.Service(), p.mptcp} }

func (p *part) bulk() bool { return p.workload != load.Connections }

// bulk are transfers in both directions.
func bulk(mptcp bool, streams int) []part {
	return []part{
		{load.BulkUp, mptcp, streams, "up"},
		{load.BulkDown, mptcp, streams, "down"},
	}
}

// parallel is how many connections are opened at a time.
const parallel = 64

// connections are new connections.
func connections(mptcp bool) []part {
	return []part{{load.Connections, mptcp, parallel, onlyRate}}
}

// rateMetrics are what parts measure.
func rateMetrics(parts []part) []experiment.Metric {
	var rates, others []experiment.Metric
	for _, p := range parts {
		rate, cpu := "Gbit/s", "s/GB"
		if !p.bulk() {
			rate, cpu = "conn/s", "µs each"
		}
		rates = append(rates, experiment.Metric{Name: p.name, Unit: rate, Better: experiment.Higher})
		others = append(others, experiment.Metric{Name: p.metric(cpuMetric), Unit: cpu, Better: experiment.Lower})
		if p.name == onlyRate {
			others = append(others,
				experiment.Metric{Name: p50Metric, Unit: "ms", Better: experiment.Lower},
				experiment.Metric{Name: p99Metric, Unit: "ms", Better: experiment.Lower})
		}
	}
	return append(rates, others...)
}

// cell is how long one load lasts, and how long bulk is under way before.
func cell(e *experiment.Env) (warmUp, length time.Duration) {
	if e.Quick {
		return 20 * time.Millisecond, 50 * time.Millisecond
	}
	return 300 * time.Millisecond, 700 * time.Millisecond
}

// rates measures parts with everybody in turns, and makes tables and plots.
func (f *field) rates(ctx context.Context, rounds int, parts []part) error {
	var lanes []lane
	for _, p := range parts {
		lanes = append(lanes, p.lane())
	}
	if err := f.startAll(ctx, lanes...); err != nil {
		return err
	}
	err := f.r.Turns(ctx, rounds, f.arms(func(ctx context.Context, c *contestant, _ int) (experiment.Measured, error) {
		return f.repetition(ctx, c, parts)
	})...)
	if err != nil {
		return err
	}
	f.remarkLost()
	f.r.Summary()
	return nil
}

// repetition has a contestant do all parts that it can. The error is that of all.
func (f *field) repetition(ctx context.Context, c *contestant, parts []part) (experiment.Measured, error) {
	m := experiment.Measured{}
	var reasons []error
	for _, p := range parts {
		x := c.lanes[p.lane()]
		had := x.failed != nil
		if err := f.part(ctx, c, x, p, m); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			x.failed = err
			reasons = append(reasons, fmt.Errorf("%s: %w", p.name, err))
			if !had {
				f.e.Tell("%s, %s: %v", c.name, p.name, err)
			}
		}
	}
	if len(m) == 0 {
		return nil, alike(reasons)
	}
	for _, why := range reasons {
		f.r.Remark(c.name, "%v", why)
	}
	return m, nil
}

// alike is one error of several: without what they are about if all are the same.
func alike(reasons []error) error {
	first := errors.Unwrap(reasons[0])
	for _, why := range reasons[1:] {
		if errors.Unwrap(why).Error() != first.Error() {
			var texts []string
			for _, why := range reasons {
				texts = append(texts, why.Error())
			}
			return errors.New(strings.Join(texts, "; "))
		}
	}
	return first
}

// part measures one part.
func (f *field) part(ctx context.Context, c *contestant, x *run, p part, m experiment.Measured) error {
	job := load.Job{Workload: p.workload, MPTCP: p.mptcp, Streams: p.streams}
	job.WarmUp, job.Duration = cell(f.e)
	got, cpu, err := f.do(ctx, x, job)
	if err != nil {
		return err
	}
	if p.bulk() {
		m[p.name] = got.BitsPerSecond() / 1e9
		costs(m, p.metric(cpuMetric), cpu/(float64(got.Total)/1e9))
		if got.Unconfirmed > 0 {
			f.r.Remark(c.name, "does not keep half-closed connections: what it may have lost is counted")
		}
		return nil
	}
	m[p.name] = got.PerSecond()
	costs(m, p.metric(cpuMetric), cpu/float64(got.Connections)*1e6)
	c.lost(&got)
	if p.name == onlyRate {
		m[p50Metric], m[p99Metric] = millis(got.Latency.Percentile(50)), millis(got.Latency.Percentile(99))
	}
	return nil
}

// costs sets a cost if there is one: without a relay there is none, and what is
// shorter than the kernel's unit of 10 ms is none either.
func costs(m experiment.Measured, metric string, value float64) {
	if value > 0 {
		m[metric] = value
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
