// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

var errNoRate = errors.New("arrivals without a rate or a duration")

// arrivals open connections of an exchanger at times of a Poisson process. A
// timerfd wakes them: the loop's own timers count in milliseconds, in which
// several connections may be due.
type arrivals struct {
	x      *exchanger
	timer  event.Socket
	random *rand.Rand
	next   time.Time
}

// runArrivals is the workload Arrivals. Those that have no answer when the
// job's patience has passed after the last one was due have failed.
func runArrivals(ctx context.Context, job *Job) (Result, error) {
	if job.PerSecond <= 0 || job.Duration <= 0 {
		return Result{}, errNoRate
	}
	x, err := newExchanger(job, 0, false)
	if err != nil {
		return Result{}, err
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return Result{}, fmt.Errorf("create timerfd: %w", err)
	}
	a := &arrivals{x: x, timer: event.Socket{FD: fd}, random: rand.New(rand.NewPCG(job.Seed, 'a'))}
	// After the loop has ended it only closes the descriptor.
	defer x.loop.Close(&a.timer)
	// Level-triggered, as arming it again makes it unreadable until it is due.
	if err := x.loop.RegisterListener(&a.timer, a); err != nil {
		return Result{}, err
	}
	x.due = max(int(job.PerSecond*job.Duration.Seconds()), 1)
	x.limit.Func = x.giveUp
	err = x.drive(ctx, func() {
		a.next = x.begun
		a.Ready(nil)
	})
	return x.result, err
}

// Ready implements event.Handler: it opens what is due.
func (a *arrivals) Ready(*event.Socket) {
	x, now := a.x, time.Now()
	for x.due > 0 && !a.next.After(now) {
		x.due--
		x.result.Late = max(x.result.Late, now.Sub(a.next))
		if err := x.connect(a.next); err != nil {
			x.result.fail(err)
		}
		if x.result.Failed >= maxFailures {
			x.due = 0
		}
		a.next = a.next.Add(time.Duration(a.random.ExpFloat64() / x.job.PerSecond * float64(time.Second)))
	}
	if x.due > 0 {
		a.arm(a.next.Sub(now))
		return
	}
	x.loop.Close(&a.timer)
	x.loop.Arm(&x.limit, now.Add(x.job.Patience))
	if len(x.open) == 0 {
		x.end()
	}
}

// arm has Ready called after d.
func (a *arrivals) arm(d time.Duration) {
	it := unix.ItimerSpec{Value: unix.NsecToTimespec(max(d, 1).Nanoseconds())}
	if err := unix.TimerfdSettime(a.timer.FD, 0, &it, nil); err != nil {
		a.x.result.fail(fmt.Errorf("set timerfd: %w", err))
		a.x.end()
	}
}
