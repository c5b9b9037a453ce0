// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/testbed"
	"github.com/tandem-gateway/tandem/bench/workload"
)

const (
	// voices are requests at the same time on a way.
	voices = 8
	// voiceOutage is how long an outage lasts.
	voiceOutage = 4 * time.Second
	// quickInterval is the time between bursts in the short form.
	quickInterval = 50 * time.Millisecond
)

var voiceWays = []string{
	"tcp wifi", "tcp cell", testbed.MPTCP, testbed.Forward, testbed.Following, testbed.Redundant,
}

func voiceSteady(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	return voice(ctx, e, r, e.Rounds(10, 1), nil, func(t *trial) {
		t.judgeBelow(95, testbed.MPTCP, "tcp wifi", "as published")
		t.judgeBelow(95, testbed.Forward, "tcp wifi", "as published")
		t.judgeBelow(95, testbed.Redundant, testbed.MPTCP, "every byte on all links")
	})
}

func voiceLost(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	return voice(ctx, e, r, e.Rounds(5, 1), &silent, mobile)
}

func voiceHandOver(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	return voice(ctx, e, r, e.Rounds(5, 1), &seen, mobile)
}

// mobile are the verdicts on a phone that loses its Wi-Fi.
func mobile(t *trial) {
	t.judgeBelow(50, testbed.Forward, "tcp wifi", "as published")
	t.judgeBelow(95, testbed.Following, testbed.Forward, "as published")
	t.judgeBelow(95, testbed.Redundant, testbed.Forward, "every byte on all links")
}

// voice has voice requests on all ways at once, with intermediate answers and
// without.
func voice(ctx context.Context, e *experiment.Env, r *experiment.Result, rounds int, o *outage, judge func(*trial)) (err error) {
	t, err := newTrial(ctx, e, r, "phone", voiceWays...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	source := fig44
	if o != nil {
		source = fig46
	}
	for i, intermediate := range []bool{false, true} {
		t.reset()
		title := "without intermediate answers"
		if intermediate {
			title = "with intermediate answers"
		}
		for round := range rounds {
			load, length := voiceLoadOf(e, round, intermediate)
			var meanwhile func(context.Context) error
			if o != nil {
				// Shorter where the requests are.
				lasting := time.Duration(float64(voiceOutage) * float64(length) / float64(fullLength))
				meanwhile = func(ctx context.Context) error { return o.happen(ctx, t, length/2, lasting) }
			}
			by, err := t.together(ctx, load, meanwhile)
			if err != nil {
				return err
			}
			if !intermediate { // which the comparison of the runs is about
				for way, one := range by {
					t.add(way, round, one)
				}
			}
			e.Step(i*rounds+round+1, 2*rounds, "%s: p50 of %s %s ms", title, testbed.Forward, ms(by[testbed.Forward].Latency.Percentile(50)))
		}
		t.latencies(title, "requests")
		name := "plain"
		if intermediate {
			name = "intermediate"
		}
		r.Plot(name, t.cdf("Answers to a voice assistant, "+title, "last burst sent to first byte of the answer, ms"))
		t.judgeComplete("requests "+title, testbed.Forward, testbed.Following, testbed.Redundant)
		judge(t)
		if !intermediate {
			t.tellPublished(source)
		}
	}
	r.Note("The thesis measured a scheduler that prefers the subflow with the lowest RTT. That of this kernel takes the one whose queue is the shorter in time, and so sends a part of a burst on the slower link although the faster one is free.")
	r.Note("The best single path is the better one of %s and %s. What requests send is far below the rate of either link, so that the sum of both plays no part.", "tcp wifi", "tcp cell")
	return nil
}

// tellPublished puts the median and the tail of those ways beside a published
// value that it speaks of.
func (t *trial) tellPublished(source string) {
	const tail = 95.0
	var each []string
	for _, way := range voiceWays {
		middle, ok := t.percentile(way, 50)
		late, also := t.percentile(way, tail)
		if ok && also {
			each = append(each, fmt.Sprintf("%s %s and %s", way, ms(middle), ms(late)))
		}
	}
	t.r.Ours(source, "p50 and p%g in ms: %s", tail, strings.Join(each, ", "))
}

// fullLength is how long the bursts of a request take.
var fullLength = workload.NewVoice(0, 1, false).Duration()

// voiceLoadOf is the load of a round on each way, and how long its bursts take.
func voiceLoadOf(e *experiment.Env, round int, intermediate bool) (workload.Workload, time.Duration) {
	var all workload.Beside
	var length time.Duration
	for i := range voices {
		one := workload.NewVoice(e.Seed+uint64(round*voices+i), 1, intermediate)
		if e.Quick {
			one.Interval = quickInterval
		}
		length = one.Duration()
		// Spread over the time between two bursts.
		all.Apart = one.Interval / voices
		all.Workloads = append(all.Workloads, one)
	}
	return all, length
}
