// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/workload"
)

var schedulersBulk = experiment.Experiment{
	ID:       "options-schedulers-bulk",
	Title:    "Schedulers under delays that vary: bulk (the thesis: fig 6.12)",
	Question: "How long does bulk take to be delivered with each scheduler while the delays of both paths vary?",
	Setup: schedulersSetup +
		"Both paths vary, in the same way for all. Steady bulk is messages of 5 kB every 5 ms, 8 Mbit/s; full bulk is messages of 8 KiB, the next as soon as the server's kernel takes it, " +
		"so that latency counts all that waits on the way; receive buffers of the aggregator are 256 kB at most. Ways take turns, 3 s and 4.5 s each time.",
	Published: []experiment.Published{
		{Source: schedulersSource, Value: "bulk over two paths of 20 Mbit/s whose delays vary from 20 to 150 ms: the RTT of MPTCP is lower with redundant than with default"},
	},
	Metrics: latencyMetrics,
	Takes:   170 * time.Second, Quick: 5 * time.Second,
	Run: measureSchedulersBulk,
}

// bulkKind is a kind of bulk.
type bulkKind struct {
	name string
	size int64
	// hold is how long it counts.
	hold time.Duration
	// arrived says that messages count by when they arrive: where the next is sent
	// when there is room, that of their sending says little.
	arrived bool
	load    func(length time.Duration) workload.Workload
}

// aggregatorReads bounds what the kernel of the aggregator reads from the server
// and its Tandem has not sent on: it is fast to come and slow to go, and up to
// 12 MB of it would wait in front of every scheduler.
const aggregatorReads = "4096 131072 262144"

const (
	steadySize  = 5000
	steadyEvery = 5 * time.Millisecond
)

var bulkKinds = []bulkKind{
	{"steady", steadySize, 2 * time.Second, false, func(length time.Duration) workload.Workload {
		return workload.Thin{Size: steadySize, Interval: steadyEvery, Count: int(length / steadyEvery)}
	}},
	{"full", int64(bulkStream.size), 3500 * time.Millisecond, true, func(length time.Duration) workload.Workload {
		return workload.Flood{Size: int64(bulkStream.size), For: length}
	}},
}

func measureSchedulersBulk(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	rounds, warm, schedulers := 2, time.Second, comparedSchedulers
	if e.Quick {
		rounds, warm, schedulers = 1, 0, []string{"default"}
	}
	t, err := newSchedulerTrial(ctx, e, schedulers...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := t.Aggregator.Sysctl("net.ipv4.tcp_rmem", aggregatorReads); err != nil {
		return err
	}
	if e.Quick {
		t.arms = t.arms[1:] // one path alone is enough
	}
	var arms []experiment.Arm
	outcomes := make([][]*delivered, len(bulkKinds))
	for i, kind := range bulkKinds {
		hold := kind.hold
		if e.Quick {
			hold = 200 * time.Millisecond
		}
		for _, arm := range t.arms {
			d := newDelivered(arm)
			outcomes[i] = append(outcomes[i], d)
			arms = append(arms, experiment.Arm{Name: arm.name + ", " + kind.name, Measure: func(ctx context.Context, round int) (m experiment.Measured, err error) {
				script := variations[0].script(e.Rand(fmt.Sprintf("delays of bulk, round %d", round)), t.Access(), warm+hold+patience)
				err = t.during(ctx, script, func() (err error) {
					m, err = t.alone(ctx, d, kind, warm, hold)
					return err
				})
				return m, err
			}})
		}
	}
	if err := r.Turns(ctx, rounds, arms...); err != nil {
		return err
	}
	tellSchedulersBulk(r, outcomes)
	return t.judgeGranted(ctx, r)
}

// alone has bulk on one way.
func (t *schedulerTrial) alone(ctx context.Context, d *delivered, kind bulkKind, warm, hold time.Duration) (experiment.Measured, error) {
	meter, err := t.Meter(ctx)
	if err != nil {
		return nil, err
	}
	got, err := kind.load(warm+hold).Run(ctx, d.arm.Dial)
	if err != nil {
		return nil, err
	}
	carried, err := meter.Read(ctx, d.arm.Way)
	return d.add(got, counted{warm: warm, hold: hold, size: kind.size, arrived: kind.arrived}, carried), err
}

func tellSchedulersBulk(r *experiment.Result, outcomes [][]*delivered) {
	var every []*delivered
	for i, kind := range bulkKinds {
		all := outcomes[i]
		every = append(every, all...)
		inTable(r, kind.name+" bulk", all)
		r.Plot(kind.name, percentiles("Bulk, "+kind.name+", while both paths vary", all))
		redundant, kernel := named(all, redundantly), named(all, "default")
		next := lowest(all, aScheduler)
		r.Judge(redundant.ms(50) < kernel.ms(50), kind.name+" bulk: delivered sooner with redundant than with default (p50), as published", "%s; lowest p99 of the other schedulers: %s with %.0f ms",
			besides(redundant, kernel), next.arm.name, next.ms(99))
	}
	judgeComplete(r, every)
	r.Ours(schedulersSource, "steady: %s; full: %s", besides(named(outcomes[0], redundantly), named(outcomes[0], "default")),
		besides(named(outcomes[1], redundantly), named(outcomes[1], "default")))
	r.Note("Of server: %s.", schedulerNotes["server"])
}
