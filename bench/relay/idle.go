// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
)

const (
	manyTunnels = 9500
	// descriptors that each relay may have for them.
	descriptors = 20000
	// holdTime bounds the time that one relay takes.
	holdTime = time.Minute
)

// giveBack is how long a relay may take to notice that all have gone.
func (f *field) giveBack() time.Duration {
	if f.e.Quick {
		return time.Second
	}
	return 3 * time.Second
}

// Limits of idle tunnels.
const (
	maxMemoryEach      = 1.0 // kB
	maxDescriptorsEach = 2
)

// The metrics of idle tunnels.
const (
	openMetric        = "open"
	memoryMetric      = "memory"
	descriptorsMetric = "descriptors"
	nextMetric        = "next connection"
	leftMetric        = "left"
	keptMetric        = "memory left"
)

func idleMetrics() []experiment.Metric {
	return []experiment.Metric{
		{Name: openMetric, Unit: "tunnels", Better: experiment.Higher},
		{Name: memoryMetric, Unit: "kB each", Better: experiment.Lower},
		{Name: descriptorsMetric, Unit: "each", Better: experiment.Lower},
		{Name: nextMetric, Unit: "ms", Better: experiment.Lower},
		{Name: leftMetric, Unit: "descriptors", Better: experiment.Lower},
		{Name: keptMetric, Unit: "MB", Better: experiment.Lower},
	}
}

// idle holds idle tunnels with each relay, which is started for it each time:
// what it has allocated before would hide what it needs.
func idle(mptcp bool) func(context.Context, *experiment.Env, *experiment.Result) error {
	return func(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
		f, err := newField(ctx, e, r)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.close()) }()
		f.contestants = f.contestants[1:] // without a relay there are none
		count := manyTunnels
		if e.Quick {
			count = 100
		}
		err = r.Turns(ctx, e.Rounds(2, 1), f.arms(func(ctx context.Context, c *contestant, _ int) (experiment.Measured, error) {
			return f.holdOne(ctx, c, mptcp, count)
		})...)
		if err != nil {
			return err
		}
		r.Summary()
		f.about(ctx)
		for _, x := range ours {
			f.judgeIdle(x.name, count)
		}
		f.plot(memoryMetric, "User memory of an idle tunnel, "+spoken(mptcp)+" to the client")
		return nil
	}
}

func (f *field) holdOne(ctx context.Context, c *contestant, mptcp bool, count int) (m experiment.Measured, err error) {
	x, err := f.start(ctx, c, lane{load.Answer, mptcp}, descriptors)
	if err != nil {
		return nil, err
	}
	if x.failed != nil {
		return nil, x.failed
	}
	defer func() { err = errors.Join(err, x.instance.Stop()) }()
	within, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	m, err = f.hold(within, c, x, mptcp, count)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("took longer than %v", holdTime)
	}
	return m, x.dead(err)
}

// openTunnels has a child open tunnels, and returns what it tells of them: at least
// one is open.
func (f *field) openTunnels(ctx context.Context, x *run, mptcp bool, count int) (*child, load.Result, error) {
	client, err := f.stage.start(ctx, load.Job{
		Workload: load.Tunnels, MPTCP: mptcp, Streams: count, Via: x.via, Target: x.target, Patience: f.patience(),
	})
	if err != nil {
		return nil, load.Result{}, err
	}
	opened, err := client.read()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err == nil && opened.Connections == 0:
		err = failure(&opened)
	}
	if err != nil {
		client.close()
		return nil, opened, err
	}
	return client, opened, nil
}

// hold opens the tunnels and measures.
func (f *field) hold(ctx context.Context, c *contestant, x *run, mptcp bool, count int) (experiment.Measured, error) {
	// It may still be busy with the probe that found it listening.
	settle := time.Second
	if f.e.Quick {
		settle = 20 * time.Millisecond
	}
	if err := await.Pause(ctx, settle); err != nil {
		return nil, err
	}
	before, err := x.instance.Usage()
	if err != nil {
		return nil, err
	}
	client, opened, err := f.openTunnels(ctx, x, mptcp, count)
	if err != nil {
		return nil, err
	}
	defer client.close()
	if err := await.Pause(ctx, settle); err != nil {
		return nil, err
	}
	held, err := x.instance.Usage()
	if err != nil {
		return nil, err
	}
	if held.Processes == 0 {
		return nil, fmt.Errorf("at %d tunnels: %w", opened.Connections, failure(&opened))
	}
	next, err := another(client)
	if err != nil {
		return nil, err
	}
	n := float64(opened.Connections)
	m := experiment.Measured{
		openMetric:        n,
		memoryMetric:      float64(held.Anonymous-before.Anonymous) / 1000 / n,
		descriptorsMetric: float64(held.Descriptors-before.Descriptors) / n,
	}
	if next.Connections == 1 {
		m[nextMetric] = millis(next.Latency.Max())
	} else {
		f.once(c, "does not serve the next connection", "beside %d tunnels: %v", opened.Connections, failure(&next))
	}
	if opened.Failed > 0 {
		f.once(c, "does not open all", "%d of %d: %s", opened.Connections, count, opened.Error)
	}
	client.in.Close()
	if err := client.Wait(); err != nil {
		return nil, client.failed(err)
	}
	after, err := f.awaitGivenBack(ctx, x, before.Descriptors)
	if err != nil {
		return nil, err
	}
	if after.Processes == 0 {
		return nil, fmt.Errorf("when %d tunnels closed: %w", opened.Connections, errNothing)
	}
	m[leftMetric] = float64(max(after.Descriptors-before.Descriptors, 0))
	m[keptMetric] = float64(after.Anonymous-before.Anonymous) / 1e6
	return m, nil
}

// once remarks on a contestant in the first repetition in which something shows.
func (f *field) once(c *contestant, what, format string, args ...any) {
	if c.remarked == nil {
		c.remarked = map[string]bool{}
	}
	if !c.remarked[what] {
		c.remarked[what] = true
		f.r.Remark(c.name, "%s: %s", what, fmt.Sprintf(format, args...))
	}
}

// another has one more exchange beside the tunnels.
func another(c *child) (load.Result, error) {
	if _, err := c.ask.Write([]byte("\n")); err != nil {
		return load.Result{}, err
	}
	return c.read()
}

// awaitGivenBack waits until a relay has no more descriptors than before, and
// returns what it has then, or at last.
func (f *field) awaitGivenBack(ctx context.Context, x *run, before int) (measure.Usage, error) {
	deadline := time.Now().Add(f.giveBack())
	for {
		u, err := x.instance.Usage()
		if err != nil || u.Descriptors <= before || time.Now().After(deadline) {
			return u, err
		}
		if err := await.Pause(ctx, 50*time.Millisecond); err != nil {
			return u, err
		}
	}
}

// judgeIdle holds the worst of all repetitions against the targets.
func (f *field) judgeIdle(arm string, count int) {
	asked := fmt.Sprintf("%s: %d tunnels with %d descriptors and at most %.0f kB of user memory each, the next connection served, all given back",
		arm, count, maxDescriptorsEach, maxMemoryEach)
	if why := f.r.WhyOut(arm); why != "" {
		f.r.Judge(false, asked, "%s", why)
		return
	}
	var missed []string
	check := func(ok bool, what string) {
		if !ok {
			missed = append(missed, what)
		}
	}
	memory, each := f.r.Values(arm, memoryMetric), f.r.Values(arm, descriptorsMetric)
	for i, open := range f.r.Values(arm, openMetric) {
		check(int(open) == count, "not all opened")
		// What the relay opened for all of them together does not count.
		check(int(each[i]+0.005) <= maxDescriptorsEach, "descriptors")
		check(memory[i] <= maxMemoryEach, "memory")
	}
	check(len(f.r.Values(arm, nextMetric)) == len(each), "next connection")
	for _, left := range f.r.Values(arm, leftMetric) {
		check(left == 0, "descriptors not given back")
	}
	got := fmt.Sprintf("%s descriptors, %s kB", experiment.Spread(each), experiment.Spread(memory))
	if len(missed) > 0 {
		got += "; missed: " + strings.Join(unique(missed), ", ")
	}
	f.r.Judge(len(missed) == 0 && len(each) > 0, asked, "%s", got)
}

func unique(texts []string) []string {
	seen := map[string]bool{}
	var first []string
	for _, text := range texts {
		if !seen[text] {
			seen[text], first = true, append(first, text)
		}
	}
	return first
}
