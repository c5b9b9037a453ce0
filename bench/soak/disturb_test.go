// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// Events that a soak test counts.
const (
	reloads = iota
	upgrades
	flaps
	radiusAway
	collectorAway
	scarcities
	numEvents
)

var eventNames = [numEvents]string{"reloads", "upgrades", "links down", "RADIUS away", "OTLP away", "descriptors out"}

// left reports whether an event is left out.
func left(event int) bool { return slices.Contains(strings.Split(*without, ","), eventNames[event]) }

// How long something is away.
const (
	flapTime   = 1200 * time.Millisecond
	awayTime   = 4 * time.Second
	scarceTime = 1500 * time.Millisecond
	// scarceRoom is how many descriptors there are then beyond those in use.
	scarceRoom = 3
	lookEvery  = 500 * time.Millisecond
)

// step is something that is to be done.
type step struct {
	at    time.Time
	every time.Duration // 0: once, and also if the end comes earlier
	do    func()
}

// disturb does to the gateways what operators and the world do, until ctx ends,
// and leaves everything in order.
func (w *world) disturb(t *testing.T, ctx context.Context, random *rand.Rand) {
	t.Helper()
	var steps []step
	again := func(event int, every time.Duration, atLeast int, do func()) {
		if event < numEvents && left(event) {
			return
		}
		every = min(every, *length/time.Duration(atLeast+1))
		steps = append(steps, step{time.Now().Add(every), every, do})
	}
	later := func(d time.Duration, do func()) {
		steps = append(steps, step{time.Now().Add(min(d, *length/6)), 0, do})
	}
	note := func(event int, err error) {
		if err != nil {
			t.Errorf("%s, after %v: %v", eventNames[event], time.Since(w.began).Round(time.Second), err)
		}
		w.happened[event]++
	}
	scarce := false

	again(numEvents, lookEvery, 8, func() {
		for _, s := range []*side{w.home, w.aggregator} {
			within, cancel := context.WithTimeout(ctx, patience)
			if err := s.look(within); err != nil && !scarce && ctx.Err() == nil {
				t.Errorf("status of %s: %v", s.name, err)
			}
			cancel()
		}
	})
	again(reloads, reloadEvery, 5, func() {
		_, err := w.aggregator.client.Reload(context.WithoutCancel(ctx))
		if scarce {
			err = nil // it says that it cannot
		}
		note(reloads, err)
	})
	again(upgrades, upgradeEvery, 3, func() {
		if !scarce {
			note(upgrades, w.aggregator.upgrade(context.WithoutCancel(ctx)))
		}
	})
	again(flaps, flapEvery, 5, func() {
		access := []lab.Access{w.DSL, w.LTE}[random.IntN(2)]
		note(flaps, access.Down())
		later(flapTime, func() {
			if err := access.Up(); err != nil {
				t.Error(err)
			}
		})
	})
	again(radiusAway, awayEvery, 2, func() {
		w.radius.Stop()
		note(radiusAway, nil)
		later(awayTime, func() { w.startRADIUS(t) })
	})
	again(collectorAway, awayEvery*3/4, 2, func() {
		w.collector.stop()
		note(collectorAway, nil)
		later(awayTime, func() { w.collector.start(t) })
	})
	again(scarcities, scarceEvery, 2, func() {
		pid := int(w.aggregator.pid.Load())
		before, err := starve(pid)
		note(scarcities, err)
		scarce = err == nil
		later(scarceTime, func() {
			scarce = false
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
				t.Error(err)
			}
		})
	})

	for {
		slices.SortFunc(steps, func(a, b step) int { return a.at.Compare(b.at) })
		next := steps[0]
		wait := time.NewTimer(time.Until(next.at))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			for _, s := range steps {
				if s.every == 0 {
					s.do()
				}
			}
			return
		}
		steps = steps[1:]
		next.do()
		if next.every > 0 {
			next.at = time.Now().Add(next.every)
			steps = append(steps, next)
		}
	}
}

// upgrade has another process take over.
func (s *side) upgrade(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if err := s.look(ctx); err != nil {
		return err
	}
	done, err := s.client.Upgrade(ctx)
	if err != nil {
		return err
	}
	s.old = append(s.old, done.Draining)
	s.pid.Store(int64(done.PID))
	return nil
}

// starve leaves a process next to no descriptors, and returns the limit from
// before.
func starve(pid int) (before unix.Rlimit, err error) {
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return before, err
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return before, err
	}
	after := before
	after.Cur = uint64(len(entries) + scarceRoom)
	return before, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &after, nil)
}
