// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab/topology"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/options"
)

// schedulersSetup is what the experiments about schedulers have in common.
const schedulersSetup = "Two paths of 20 Mbit/s with queues of 60 ms; reno on all hosts. A server behind the aggregator sends. " +
	"The Tandem at the client's end asks the aggregator's for a scheduler, in the Convert request of each connection; redundant is an upstream of its own. " +
	"Delays that vary are one-way and drawn anew from 20 to 150 ms every 500 ms, for each path at other times. " +
	"Latency is from when a message was due at the server's application to its arrival at the client's; the first second, in which paths are opened, does not count. "

// schedulersSource is what they repeat.
const schedulersSource = "thesis, fig 6.12"

// The delays that are drawn, and for how long each lasts.
const (
	lowestDelay, highestDelay = 20 * time.Millisecond, 150 * time.Millisecond
	delayLasts                = 500 * time.Millisecond
)

// variation says how one-way delays vary, and what is lost.
type variation struct {
	name, title string
	// steady are the delays of the paths that do not vary; 0: it does.
	steady [2]time.Duration
	// loss of both paths in percent.
	loss float64
}

// script is how the links change over a time.
func (v variation) script(random *rand.Rand, links []string, length time.Duration) []topology.Step {
	var steps []topology.Step
	for i, link := range links {
		steps = append(steps, topology.Step{Set: fmt.Sprintf("%s.loss=%g%%", link, v.loss)})
		if d := v.steady[i]; d != 0 {
			steps = append(steps, topology.Step{Set: fmt.Sprintf("%s.delay=%v", link, d)})
			continue
		}
		for at := -time.Duration(i) * delayLasts / 2; at < length; at += delayLasts {
			d := lowestDelay + time.Duration(random.Int64N(int64(highestDelay-lowestDelay)+1))
			steps = append(steps, topology.Step{At: max(at, 0), Set: fmt.Sprintf("%s.delay=%v", link, d.Round(time.Millisecond))})
		}
	}
	return steps
}

// schedulerArm is a scheduler, or a path alone.
type schedulerArm struct {
	testbed.Way
	name, note string
	// link is the only one of a path alone.
	link string
}

// schedulerTrial is a bed where all schedulers can be had at the same time.
type schedulerTrial struct {
	*testbed.Bed
	arms []schedulerArm
}

// redundantly is the arm that no request makes.
const redundantly = "redundant"

// schedulerNotes explain some arms.
var schedulerNotes = map[string]string{
	"server":    "a download says nothing on the way up, so that it stays on the path of the request",
	redundantly: "an upstream of its own: one connection for each path",
}

func newSchedulerTrial(ctx context.Context, e *experiment.Env, schedulers ...string) (*schedulerTrial, error) {
	b, err := testbed.New(ctx, testbed.Spec{Preset: "two-path", Tandem: e.Tandem, Congestion: "reno", Asked: schedulers})
	if err != nil {
		return nil, err
	}
	t := &schedulerTrial{Bed: b}
	for i, w := range b.Single() {
		link := b.Access()[i]
		t.arms = append(t.arms, schedulerArm{Way: w, name: link + " alone", note: "plain TCP", link: link})
	}
	names := []string{testbed.Redundant}
	for _, s := range schedulers {
		names = append(names, testbed.AskingFor(s))
	}
	ways, err := b.Choose(names...)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	for i, name := range append([]string{redundantly}, schedulers...) {
		t.arms = append(t.arms, schedulerArm{Way: ways[i], name: name, note: schedulerNotes[name]})
	}
	return t, nil
}

// during has the links vary while f runs.
func (t *schedulerTrial) during(ctx context.Context, script []topology.Step, f func() error) error {
	playing, stop := context.WithCancel(ctx)
	var played error
	var player sync.WaitGroup
	player.Go(func() { played = t.Play(playing, script) })
	err := f()
	stop()
	player.Wait()
	if errors.Is(played, context.Canceled) {
		played = ctx.Err()
	}
	return errors.Join(err, played)
}

// judgeGranted judges that the aggregator has granted all that was asked for:
// otherwise arms would not be what they are called.
func (t *schedulerTrial) judgeGranted(ctx context.Context, r *experiment.Result) error {
	status, err := t.AggregatorStatus(ctx)
	asked, granted := askedFor(status, options.Scheduler)
	r.Judge(granted == asked && asked > 0, "the aggregator grants every scheduler that it is asked for", "%d of %d", granted, asked)
	return err
}

// delivered is what has become of an arm in a case.
type delivered struct {
	arm     schedulerArm
	latency *workload.Latency
	bytes   int64
	over    time.Duration
	carried testbed.Carried
	failed  int
	failure string
	// p99 of each repetition, in ms.
	p99 []float64
}

func newDelivered(arm schedulerArm) *delivered {
	return &delivered{arm: arm, latency: workload.NewLatency()}
}

// counted says which messages of a repetition count: those that were due from
// warm on, or arrived from then on, for hold.
type counted struct {
	warm, hold time.Duration
	arrived    bool
	// size of a message in bytes.
	size int64
}

// add adds a repetition, and tells what it came to.
func (d *delivered) add(got *workload.Result, of counted, carried testbed.Carried) experiment.Measured {
	d.failed += got.Failed
	if d.failure == "" {
		d.failure = got.Error
	}
	d.carried.Add(carried)
	one, bytes := workload.NewLatency(), int64(0)
	for _, s := range got.Samples {
		at := s.At + s.Took
		if at >= of.warm && at < of.warm+of.hold {
			bytes += of.size
		}
		if !of.arrived {
			at = s.At
		}
		if at >= of.warm && at < of.warm+of.hold {
			one.Record(s.Took)
		}
	}
	d.latency.Merge(one)
	d.bytes, d.over = d.bytes+bytes, d.over+of.hold
	m := experiment.Measured{"goodput": float64(bytes) * 8 / 1e6 / of.hold.Seconds()}
	for _, p := range []float64{50, 95, 99} {
		if one.Count() > 0 {
			m[fmt.Sprintf("p%g", p)] = msOf(one, p)
		}
	}
	d.p99 = append(d.p99, msOf(one, 99))
	return m
}

// msOf is a percentile in milliseconds, not a number if there is none.
func msOf(l *workload.Latency, p float64) float64 {
	if l.Count() == 0 {
		return math.NaN()
	}
	return figure.Milliseconds(l.Percentile(p))
}

// goodput in Mbit/s.
func (d *delivered) goodput() float64 { return float64(d.bytes) * 8 / 1e6 / d.over.Seconds() }

// ms is a percentile of the latency in milliseconds.
func (d *delivered) ms(p float64) float64 { return msOf(d.latency, p) }

// split is the share of each path in what the aggregator has sent.
func (d *delivered) split() string {
	if d.arm.link != "" {
		return d.arm.link + " alone"
	}
	total := uint64(0)
	for _, n := range d.carried.Down {
		total += n
	}
	var parts []string
	for i, n := range d.carried.Down {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", d.carried.Links[i], 100*float64(n)/float64(max(total, 1))))
	}
	return strings.Join(parts, ", ")
}

// inTable writes a row for each arm, and the histograms as records.
func inTable(r *experiment.Result, title string, all []*delivered) {
	r.NextTable(title)
	r.Columns("", "messages", "goodput, Mbit/s", "p50, ms", "p95, ms", "p99, ms", "p99 of each round, ms", "longest, ms", "sent by path", "")
	for _, d := range all {
		var rounds []string
		for _, v := range d.p99 {
			rounds = append(rounds, experiment.Number(v))
		}
		r.Row(d.arm.name, fmt.Sprint(d.latency.Count()), experiment.Number(d.goodput()), experiment.Number(d.ms(50)), experiment.Number(d.ms(95)), experiment.Number(d.ms(99)),
			strings.Join(rounds, ", "), experiment.Number(d.ms(100)), d.split(), d.arm.note)
		r.Record("delivery", map[string]any{"case": title, "arm": d.arm.name, "latency": d.latency, "bytes": d.bytes, "seconds": d.over.Seconds(), "carried": d.carried})
	}
}

// percentiles draws the latency that a growing share of messages does not
// exceed, so that the tail is as wide as the middle.
func percentiles(title string, all []*delivered) *figure.Plot {
	var lines []figure.Series
	for _, d := range all {
		if d.latency.Count() == 0 {
			continue
		}
		s := figure.Series{Name: d.arm.name}
		for nines := 0.0; nines <= 2.7; nines += 0.03 {
			s.X, s.Y = append(s.X, nines), append(s.Y, d.ms(100-100*math.Pow(10, -nines)))
		}
		lines = append(lines, s)
	}
	return figure.Lines(figure.Axes{Title: title, X: "share of messages in nines: 1 is 90 %, 2 is 99 %", Y: "delivery latency, ms"}, lines...).
		Mark(figure.Line{Name: "p50, p90, p99", Value: math.Log10(2)}).Mark(figure.Line{Value: 1}).Mark(figure.Line{Value: 2})
}

// named finds an arm.
func named(all []*delivered, name string) *delivered {
	i := slices.IndexFunc(all, func(d *delivered) bool { return d.arm.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// lowest is the arm with the lowest p99 of those that are wanted.
func lowest(all []*delivered, wanted func(schedulerArm) bool) *delivered {
	var best *delivered
	for _, d := range all {
		if wanted(d.arm) && (best == nil || math.IsNaN(best.ms(99)) || d.ms(99) < best.ms(99)) {
			best = d
		}
	}
	return best
}

// anAlone and aScheduler tell what arms are; redundant is neither.
func anAlone(a schedulerArm) bool    { return a.link != "" }
func aScheduler(a schedulerArm) bool { return a.link == "" && a.name != redundantly }

// judgeComplete judges that all messages have come.
func judgeComplete(r *experiment.Result, all []*delivered) {
	failed, done, why := 0, int64(0), ""
	for _, d := range all {
		failed, done = failed+d.failed, done+d.latency.Count()
		if why == "" && d.failure != "" {
			why = "; " + d.arm.name + ": " + d.failure
		}
	}
	r.Judge(failed == 0, "all messages come, with the right bytes", "%d, %d failed%s", done, failed, why)
}
