// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// clock runs as time does, but can be put forward, and stopped.
type clock struct {
	mu      sync.Mutex
	ahead   time.Duration
	stopped time.Time // zero while it runs
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped.Add(c.ahead)
	}
	return time.Now().Add(c.ahead)
}

func (c *clock) stop(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = at
}

// forward has an engine see that some time has passed.
func (c *clock) forward(e *Engine, d time.Duration) {
	c.mu.Lock()
	c.ahead += d
	c.mu.Unlock()
	e.ask(func() {})
}

// TestHealingOfOldConnections: one that has stood for hours or weeks is healed
// like a young one: at once, then with the same delays, which begin anew after
// a subflow has lived, and within the same limits.
func TestHealingOfOldConnections(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			var time clock
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{now: time.now})
			to := w.AggregatorAddr.V4
			ln := w.listen(to)
			f := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 1}, Interfaces: []string{"wifi"}}, Policy{})
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
			f.lose(&time, "young")
			time.forward(w.client, 5*hour)
			f.lose(&time, "hours old")
			time.forward(w.client, 30*24*hour)
			f.lose(&time, "a month old")
			if c := state(t, w.client, f.clientToken); c.Begun.Add(30 * 24 * hour).After(time.now()) {
				t.Errorf("it began at %v", c.Begun)
			}
			f.move(f.client, f.server, 100_000)
			f.move(f.server, f.client, 100_000)
		})
	}
}

const hour = time.Hour

// lose resets the only subflow of a connection, and attempts to restore it,
// while no time passes of itself.
func (f *flow) lose(c *clock, age string) {
	t, w := f.w.t, f.w
	t.Helper()
	to := w.AggregatorAddr.V4
	c.stop(time.Now())
	defer c.stop(time.Time{})
	healed := w.client.Counters().Healed
	before := state(t, w.client, f.clientToken).Subflows[0]
	c.forward(w.client, 2*shortLife) // the subflow has lived
	run(t, w.Client, "ss", "-K", "src", before.LocalAddr().String())
	labtest.Await(t, patience, age+": a new subflow without any time passing", func() bool {
		s := state(t, w.client, f.clientToken).Subflows
		return len(s) == 1 && s[0].State == Established && s[0].Port != before.Port
	})
	n := w.client.Counters().Healed
	if n[ResetSent]+n[ResetReceived] != healed[ResetSent]+healed[ResetReceived]+1 {
		t.Errorf("%s: healed %v, then %v", age, healed, n)
	}

	// Each further attempt is refused, and the next one waits for longer.
	c.forward(w.client, 2*shortLife)
	nft(t, w.Aggregator, "iifname wifi meta l4proto tcp reject with tcp reset")
	run(t, w.Client, "ss", "-K", "src", state(t, w.client, f.clientToken).Subflows[0].LocalAddr().String())
	for _, want := range []time.Duration{firstDelay, 2 * firstDelay, 4 * firstDelay, 8 * firstDelay} {
		f.awaitDelay(age, want)
		c.forward(w.client, want)
	}
	f.awaitDelay(age, 16*firstDelay)
	noRules(t, w.Aggregator)
	c.forward(w.client, 16*firstDelay)
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
	c.forward(w.client, 2*shortLife)
}

// awaitDelay waits for an attempt that is to be made after a delay.
func (f *flow) awaitDelay(age string, want time.Duration) {
	t, w := f.w.t, f.w
	t.Helper()
	var seen []time.Duration
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		for _, s := range state(t, w.client, f.clientToken).Subflows {
			if s.State != Waiting {
				continue
			}
			delay := s.due.Sub(s.Since)
			if delay == want {
				return
			}
			if !slices.Contains(seen, delay) {
				seen = append(seen, delay)
			}
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s: no attempt is delayed by %v, but %v", age, want, seen)
}

// TestLimitsOfOldConnections: the time that has passed is no credit.
func TestLimitsOfOldConnections(t *testing.T) {
	var time clock
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{now: time.now})
	to := w.AggregatorAddr.V4
	policy := Policy{Manager: NDiffPorts{N: 1}, OpensPerSecond: 2}
	f := w.connect(w.listen(to), to, policy, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
	time.forward(w.client, 5*hour)
	var tokens float64
	w.client.ask(func() {
		c := w.client.conns[f.clientToken]
		tokens = c.limiter(&c.ours).TokensAt(time.now())
	})
	if tokens > policy.OpensPerSecond {
		t.Errorf("%v subflows may be opened at once after five hours", tokens)
	}
}
