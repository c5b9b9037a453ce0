// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

// trial is a bed and what ways on it have come to.
type trial struct {
	*testbed.Bed
	e *experiment.Env
	r *experiment.Result

	ways    []testbed.Way
	mayFail map[string]bool // other relays
	totals  map[string]*workload.Result
	carried map[string]*testbed.Carried
}

// newTrial builds a bed with the ways of it that have one of the names; without
// names, all of them. Where connections cannot be steered, the way that needs
// it is out.
func newTrial(ctx context.Context, e *experiment.Env, r *experiment.Result, preset string, names ...string) (*trial, error) {
	steered := len(names) == 0 || slices.Contains(names, testbed.Following)
	spec := testbed.Spec{Preset: preset, Tandem: e.Tandem, Steered: steered}
	b, err := testbed.New(ctx, spec)
	if err != nil && steered && ctx.Err() == nil {
		r.Out(testbed.Following, err)
		spec.Steered = false
		b, err = testbed.New(ctx, spec)
	}
	if err != nil {
		return nil, err
	}
	t := &trial{Bed: b, e: e, r: r, mayFail: map[string]bool{}}
	for _, w := range b.Ways() {
		if len(names) == 0 || slices.Contains(names, w.Name) {
			t.ways = append(t.ways, w)
		}
	}
	t.reset()
	return t, nil
}

// reset forgets what ways have come to, for another condition.
func (t *trial) reset() {
	t.totals, t.carried = map[string]*workload.Result{}, map[string]*testbed.Carried{}
	for _, w := range t.ways {
		t.totals[w.Name], t.carried[w.Name] = workload.NewResult(), &testbed.Carried{}
	}
}

// peers are the other relays of the bed that are asked for.
func (t *trial) peers() []peers.Peer {
	return slices.DeleteFunc(t.Peers(), func(p peers.Peer) bool { return !t.e.Relay(p.Name) })
}

// addPeers adds the other relays of the bed.
func (t *trial) addPeers(ctx context.Context) {
	for _, p := range t.peers() {
		w, _, err := t.Start(ctx, p)
		if err != nil {
			t.r.Out(p.Name, err)
			continue
		}
		t.ways = append(t.ways, w)
		t.mayFail[w.Name] = true
	}
	t.reset()
}

// run puts a load on a way, and adds it to what the way has come to.
func (t *trial) run(ctx context.Context, w testbed.Way, load workload.Workload) (*workload.Result, error) {
	r, err := load.Run(ctx, w.Dial)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Name, err)
	}
	t.totals[w.Name].Merge(r)
	return r, nil
}

// metered calls f, and adds what each way has carried meanwhile.
func (t *trial) metered(ctx context.Context, f func() error) error {
	m, err := t.Meter(ctx)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	for _, w := range t.ways {
		c, err := m.Read(ctx, w)
		if err != nil {
			return err
		}
		t.carried[w.Name].Add(c)
	}
	return nil
}

// together puts a load on all ways at the same time, so that all meet the same
// conditions, and calls meanwhile, which changes these.
func (t *trial) together(ctx context.Context, load workload.Workload, meanwhile func(context.Context) error) (map[string]*workload.Result, error) {
	results := make([]*workload.Result, len(t.ways))
	errs := make([]error, len(t.ways)+1)
	err := t.metered(ctx, func() error {
		var working sync.WaitGroup
		if meanwhile != nil {
			working.Go(func() { errs[len(t.ways)] = meanwhile(ctx) })
		}
		for i, w := range t.ways {
			working.Go(func() { results[i], errs[i] = load.Run(ctx, w.Dial) })
		}
		working.Wait()
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, err
	}
	by := map[string]*workload.Result{}
	for i, w := range t.ways {
		t.totals[w.Name].Merge(results[i])
		by[w.Name] = results[i]
	}
	return by, nil
}

// add makes a repetition of a result.
func (t *trial) add(way string, round int, r *workload.Result) {
	if r.Done > 0 {
		t.r.Add(way, round, experiment.Measured{
			"p50": figure.Milliseconds(r.Latency.Percentile(50)), "p95": figure.Milliseconds(r.Latency.Percentile(95)), "max": figure.Milliseconds(r.Latency.Max()),
		})
	}
}

// latencies makes a table of what all ways have come to, and writes the
// histograms.
func (t *trial) latencies(title, what string) {
	t.r.NextTable(title)
	t.r.Columns("", what, "failed", "p50 ms", "p95 ms", "p99 ms", "max ms", "bytes by link")
	for _, w := range t.ways {
		total := *t.totals[w.Name]
		l := total.Latency
		t.r.Row(w.Name, fmt.Sprint(total.Done), fmt.Sprint(total.Failed), ms(l.Percentile(50)), ms(l.Percentile(95)), ms(l.Percentile(99)), ms(l.Max()),
			t.links(w))
		total.Samples = nil
		t.r.Record("latency", map[string]any{"title": title, "way": w.Name, "result": &total, "carried": t.carried[w.Name]})
	}
}

// links is which links a way has used.
func (t *trial) links(w testbed.Way) string {
	if !w.Multipath && slices.ContainsFunc(t.Single(), func(s testbed.Way) bool { return s.Name == w.Name }) {
		return "one link"
	}
	return t.carried[w.Name].String()
}

// cdf draws the distributions of what ways have come to.
func (t *trial) cdf(title, x string) *figure.Plot {
	var all []figure.Distribution
	for _, w := range t.ways {
		if values := t.totals[w.Name].Latency.Milliseconds(); len(values) > 0 {
			all = append(all, figure.Distribution{Name: w.Name, Values: values})
		}
	}
	return figure.CDF(figure.Axes{Title: title, X: x}, all...)
}

// percentile of what a way has come to; false if it has nothing to show.
func (t *trial) percentile(way string, p float64) (time.Duration, bool) {
	total := t.totals[way]
	if total == nil || total.Done == 0 {
		return 0, false
	}
	return total.Latency.Percentile(p), true
}

// judgeBelow judges that a percentile of a way is below that of another one.
func (t *trial) judgeBelow(p float64, way, base, source string) {
	a, ok := t.percentile(way, p)
	b, also := t.percentile(base, p)
	if ok && also {
		t.r.Judge(a < b, fmt.Sprintf("%s: p%g of %s is below that of %s", source, p, way, base), "%s against %s ms", ms(a), ms(b))
	}
}

// judgeComplete judges that nothing has failed on the given ways.
func (t *trial) judgeComplete(what string, ways ...string) {
	failed, done, why := 0, 0, ""
	for _, w := range ways {
		if total := t.totals[w]; total != nil {
			failed += total.Failed
			done += total.Done
			if why == "" {
				why = total.Error
				if why != "" {
					why = w + ": " + why
				}
			}
		}
	}
	if why != "" {
		why = ": " + why
	}
	t.r.Judge(failed == 0 && done > 0, what+" come through with the right bytes", "%d of %d%s", done, done+failed, why)
}

func ms(d time.Duration) string { return experiment.Number(figure.Milliseconds(d)) }
