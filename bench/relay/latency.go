// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// Rates of arrivals: the same for all, as a share of what Tandem's forward
// carries, and as a share of what each carries itself.
const (
	sameShare = 0.5
	ownShare  = 0.7
)

var errNoCapacity = errors.New("carries no connections")

// offered is a load with what came of it.
type offered struct {
	metric, title string
	rate          func(*contestant) float64 // connections per second
	totals        map[string]*load.Result   // by arm
}

func latencyMetrics() []experiment.Metric {
	var all []experiment.Metric
	for _, at := range []string{sameLoad, ownLoad} {
		for _, p := range []string{"p50", "p99"} {
			all = append(all, experiment.Metric{Name: p + " at " + at, Unit: "ms", Better: experiment.Lower})
		}
	}
	return all
}

// The loads in the names of metrics.
const (
	sameLoad = "the same load"
	ownLoad  = "its own load"
)

// latency finds out what each carries, and then what connections take at
// fractions of it, in an open loop.
func latency(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	f, err := newField(ctx, e, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	at := lane{load.Answer, true}
	if err := f.startAll(ctx, at); err != nil {
		return err
	}
	carries, err := f.capacities(ctx, at)
	if err != nil {
		return err
	}
	same := sameShare * carries[tandemForward]
	if same == 0 {
		return fmt.Errorf("%s: %w", tandemForward, errNoCapacity)
	}
	loads := []*offered{
		{sameLoad, fmt.Sprintf("the same load for all: %.0f connections per second, %g of what Tandem's forward carries", same, sameShare),
			func(*contestant) float64 { return same }, map[string]*load.Result{}},
		{ownLoad, fmt.Sprintf("%g of what each carries itself", ownShare),
			func(c *contestant) float64 { return ownShare * carries[c.name] }, map[string]*load.Result{}},
	}
	err = r.Turns(ctx, e.Rounds(7, 1), f.arms(func(ctx context.Context, c *contestant, round int) (experiment.Measured, error) {
		m := experiment.Measured{}
		for _, o := range loads {
			if err := f.offer(ctx, c, at, o, round, m); err != nil {
				return nil, err
			}
		}
		return m, nil
	})...)
	if err != nil {
		return err
	}
	f.remarkLost()
	r.Summary()
	for _, o := range loads {
		f.percentiles(o, carries)
	}
	f.about(ctx)
	f.judgeLatency(loads)
	return nil
}

// capacities are the connections per second that each carries in a closed loop,
// medians of some rounds.
func (f *field) capacities(ctx context.Context, at lane) (map[string]float64, error) {
	rates := map[string][]float64{}
	job := load.Job{Workload: load.Connections, MPTCP: at.mptcp, Streams: parallel}
	_, job.Duration = cell(f.e)
	for range f.e.Rounds(3, 1) {
		for _, c := range f.contestants {
			x := c.lanes[at]
			got, _, err := f.do(ctx, x, job)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				x.failed = err
				continue
			}
			rates[c.name] = append(rates[c.name], got.PerSecond())
			f.e.Tell("%s carries %.0f connections per second", c.name, got.PerSecond())
		}
	}
	carries := map[string]float64{}
	for name, all := range rates {
		carries[name] = figure.Median(all)
	}
	return carries, nil
}

// offer puts a load on a contestant.
func (f *field) offer(ctx context.Context, c *contestant, at lane, o *offered, round int, m experiment.Measured) error {
	job := load.Job{Workload: load.Arrivals, MPTCP: at.mptcp, PerSecond: o.rate(c), Seed: f.e.Seed + uint64(round)}
	_, job.Duration = cell(f.e)
	// More than it carries is no reason to be out.
	got, _, err := f.try(ctx, c.lanes[at], job)
	if err != nil {
		return err
	}
	c.lost(&got)
	m["p50 at "+o.metric], m["p99 at "+o.metric] = millis(got.Latency.Percentile(50)), millis(got.Latency.Percentile(99))
	total := o.totals[c.name]
	if total == nil {
		total = &load.Result{Latency: workload.NewLatency()}
		o.totals[c.name] = total
	}
	total.Latency.Merge(got.Latency)
	total.Connections += got.Connections
	total.Failed += got.Failed
	total.Late = max(total.Late, got.Late)
	return nil
}

// percentiles makes a table of all rounds together, and a plot.
func (f *field) percentiles(o *offered, carries map[string]float64) {
	f.r.NextTable("All rounds together, at " + o.title)
	f.r.Columns("", "carries, conn/s", "load, conn/s", "answered", "failed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")
	var lines []figure.Series
	least := math.Inf(1)
	for _, c := range f.contestants {
		total := o.totals[c.name]
		if total == nil {
			continue
		}
		l := total.Latency
		row := []string{c.name, experiment.Number(carries[c.name]), experiment.Number(o.rate(c)), strconv.Itoa(total.Connections), strconv.Itoa(total.Failed)}
		for _, p := range []float64{50, 90, 99, 99.9, 100} {
			row = append(row, experiment.Number(millis(l.Percentile(p))))
		}
		f.r.Row(row...)
		f.r.Record("latency", map[string]any{"load": o.metric, "arm": c.name, "per_second": o.rate(c), "result": total})
		// One that has more than it carries would leave no room for the others.
		if o.rate(c) < carries[c.name] {
			lines = append(lines, tail(c.name, l))
			least = min(least, lines[len(lines)-1].Y[0])
		}
	}
	name := map[string]string{sameLoad: "same", ownLoad: "own"}[o.metric]
	f.r.Plot(name, figure.Lines(figure.Axes{
		Title: "Latency at " + o.title, X: "so many connections take no longer", Y: "ms",
	}, lines...).LogY(least).Places(
		figure.Line{Name: "50 %", Value: math.Log10(2)}, figure.Line{Name: "90 %", Value: 1},
		figure.Line{Name: "99 %", Value: 2}, figure.Line{Name: "99.9 %", Value: 3}))
}

// tail is percentiles from the median on, at the power of ten of which one
// connection is slower: on this scale tails can be seen.
func tail(name string, l *workload.Latency) figure.Series {
	s := figure.Series{Name: name}
	for _, slower := range []float64{2, 2.5, 3, 4, 5, 7, 10, 14, 20, 30, 50, 70, 100, 140, 200, 300, 500, 700, 1000} {
		if slower > 2 && slower > float64(l.Count()) {
			break
		}
		s.X = append(s.X, math.Log10(slower))
		s.Y = append(s.Y, millis(l.Percentile(100*(1-1/slower))))
	}
	return s
}

// judgeLatency judges that nothing is lost on the way, which is the least that
// can be asked for below capacity, and tells how the tails compare.
func (f *field) judgeLatency(loads []*offered) {
	for _, x := range ours {
		answered, failed := 0, 0
		for _, o := range loads {
			if total := o.totals[x.name]; total != nil {
				answered, failed = answered+total.Connections, failed+total.Failed
			}
		}
		f.r.Judge(failed == 0 && answered > 0, x.name+": every connection is answered", "%d of %d", answered, answered+failed)
	}
	late := time.Duration(0)
	for _, o := range loads {
		for _, total := range o.totals {
			late = max(late, total.Late)
		}
		metric := "p99 at " + o.metric
		for _, x := range ours {
			if best := f.best(experiment.Metric{Name: metric, Better: experiment.Lower}, x.front); best != "" {
				f.r.Note("%s of %s beside %s, the best of its kind: %s", metric, x.name, best, f.r.Compare(metric, x.name, best))
			}
		}
	}
	f.r.Note("The generator itself was at most %s ms late, which is part of the latency of all.", experiment.Number(millis(late)))
}
