// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

var schedulersThin = experiment.Experiment{
	ID:       "options-schedulers-thin",
	Title:    "Schedulers under delays that vary: thin streams",
	Question: "Which scheduler delivers small messages soonest while the delays of paths vary, and is it always redundant?",
	Setup: schedulersSetup +
		"Two streams of messages of 200 bytes every 20 ms on each way, on all ways at the same time over the same links, 12 s in each case; cases in turns.",
	Published: []experiment.Published{
		{Source: schedulersSource, Value: "bulk over two paths of 20 Mbit/s whose delays vary from 20 to 150 ms: the RTT of MPTCP is lower with redundant than with default; thin streams were not measured"},
	},
	Metrics: latencyMetrics[:3],
	Takes:   160 * time.Second, Quick: 4 * time.Second,
	Run: measureSchedulersThin,
}

// latencyMetrics are of thin streams the first three.
var latencyMetrics = []experiment.Metric{
	{Name: "p50", Unit: "ms", Better: experiment.Lower},
	{Name: "p95", Unit: "ms", Better: experiment.Lower},
	{Name: "p99", Unit: "ms", Better: experiment.Lower},
	{Name: "goodput", Unit: "Mbit/s", Better: experiment.Higher},
}

// comparedSchedulers are asked for.
var comparedSchedulers = []string{"default", "primary", "smallest-delay", "weighted:80,20", "overflow", "server", "auto"}

// variations are the cases of thin streams.
var variations = []variation{
	{name: "both", title: "both paths vary"},
	{name: "first", title: "the first path varies, the second stays at 60 ms", steady: [2]time.Duration{0, 60 * time.Millisecond}},
	{name: "second", title: "the second path varies, the first stays at 60 ms", steady: [2]time.Duration{60 * time.Millisecond, 0}},
	{name: "loss", title: "both paths vary and lose 1 %", loss: 1},
}

// thinLoad is two thin streams on a way.
func thinLoad(length time.Duration) workload.Beside {
	one := workload.Thin{Size: int64(thinStream.size), Interval: thinStream.every, Count: int(length / thinStream.every)}
	return workload.Beside{Workloads: []workload.Workload{one, one}, Apart: thinStream.every / 2}
}

func measureSchedulersThin(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	cases, rounds, warm, hold, schedulers := variations, 3, time.Second, 12*time.Second, comparedSchedulers
	if e.Quick {
		cases, rounds, warm, hold = variations[len(variations)-1:], 1, 0, 300*time.Millisecond
	}
	t, err := newSchedulerTrial(ctx, e, schedulers...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	outcomes := make([][]*delivered, len(cases))
	for i := range cases {
		for _, arm := range t.arms {
			outcomes[i] = append(outcomes[i], newDelivered(arm))
		}
	}
	for round := range rounds {
		for i, v := range cases {
			random := e.Rand(fmt.Sprintf("delays of %s, round %d", v.name, round))
			err := t.during(ctx, v.script(random, t.Access(), warm+hold+patience), func() error {
				return t.atOnce(ctx, outcomes[i], warm, hold, func(arm string, m experiment.Measured) {
					delete(m, "goodput") // is what was sent
					r.Add(arm+", "+v.title, round, m)
				})
			})
			if err != nil {
				return fmt.Errorf("%s: %w", v.title, err)
			}
			best := lowest(outcomes[i], aScheduler)
			e.Step(round*len(cases)+i+1, rounds*len(cases), "%s: p99 %.1f ms with redundant, %.1f with %s", v.title,
				named(outcomes[i], redundantly).ms(99), best.ms(99), best.arm.name)
		}
	}
	tellSchedulersThin(r, cases, outcomes)
	return t.judgeGranted(ctx, r)
}

// atOnce has thin streams on all ways at the same time.
func (t *schedulerTrial) atOnce(ctx context.Context, all []*delivered, warm, hold time.Duration, add func(string, experiment.Measured)) error {
	meter, err := t.Meter(ctx)
	if err != nil {
		return err
	}
	results, errs := make([]*workload.Result, len(all)), make([]error, len(all))
	var working sync.WaitGroup
	for i, d := range all {
		working.Go(func() { results[i], errs[i] = thinLoad(warm+hold).Run(ctx, d.arm.Dial) })
	}
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, d := range all {
		var carried testbed.Carried
		if carried, err = meter.Read(ctx, d.arm.Way); err != nil {
			return err
		}
		add(d.arm.name, d.add(results[i], counted{warm: warm, hold: hold, size: int64(thinStream.size)}, carried))
	}
	return nil
}

func tellSchedulersThin(r *experiment.Result, cases []variation, outcomes [][]*delivered) {
	var ours, every []*delivered
	won := 0
	for i, v := range cases {
		all := outcomes[i]
		every = append(every, all...)
		inTable(r, v.title, all)
		r.Plot(v.name, percentiles("Thin streams: "+v.title, all))
		redundant, next, alone := named(all, redundantly), lowest(all, aScheduler), lowest(all, anAlone)
		met := redundant.ms(99) < next.ms(99)
		if met {
			won++
		}
		r.Judge(met, v.title+": redundant has the lowest p99 of all schedulers", "%.1f ms, next %s with %.1f ms; lowest in %d of %d rounds; best single path: %s with %.1f ms",
			redundant.ms(99), next.arm.name, next.ms(99), roundsWon(all), len(redundant.p99), alone.arm.name, alone.ms(99))
		if i == 0 {
			ours = []*delivered{redundant, named(all, "default")}
		}
	}
	r.Judge(won == len(cases), "redundant has the lowest p99 in every thin-stream case", "in %d of %d", won, len(cases))
	judgeComplete(r, every)
	r.Ours(schedulersSource, "%s", besides(ours[0], ours[1]))
	r.Note("The sum of both paths plays no part: what a stream sends is a hundredth of what one path carries.")
	r.Note("Of server: %s.", schedulerNotes["server"])
}

// roundsWon is in how many rounds redundant had a lower p99 than any scheduler.
func roundsWon(all []*delivered) int {
	won := 0
	for round, p99 := range named(all, redundantly).p99 {
		first := true
		for _, d := range all {
			first = first && !(aScheduler(d.arm) && d.p99[round] <= p99)
		}
		if first {
			won++
		}
	}
	return won
}

// besides is redundant beside default in words.
func besides(redundant, kernel *delivered) string {
	return fmt.Sprintf("p50 %.0f, p95 %.0f, p99 %.0f ms with redundant; %.0f, %.0f, %.0f ms with default",
		redundant.ms(50), redundant.ms(95), redundant.ms(99), kernel.ms(50), kernel.ms(95), kernel.ms(99))
}
