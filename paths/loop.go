// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"container/heap"
	"context"
	"time"

	"github.com/tandem-gateway/tandem/bpf"
)

// run is the loop.
func (e *Engine) run(ctx context.Context) {
	defer close(e.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for w := range e.watchers {
				close(w.notices)
			}
			return
		case <-e.wake:
			e.called(e.o.now())
		case evs := <-e.fromBPF:
			e.take(evs)
		case ev := <-e.fromPM:
			now := e.o.now()
			e.called(now)
			e.netlinkEvent(ev, now)
			e.drain(now)
		case <-e.changed:
			e.called(e.o.now())
			e.readAt = e.soon(e.readAt, e.lastRead, readEvery)
		case <-timer.C:
			e.called(e.o.now())
		}
		timer.Reset(e.advance(e.o.now()).Sub(e.o.now()))
	}
}

// take takes events of the eBPF programs. Connections begin before they are
// adopted; what was asked for before other events came is done before these,
// which may come of it.
func (e *Engine) take(evs []bpf.Event) {
	now := e.o.now()
	e.counters.Events += uint64(len(evs))
	calls := e.asked()
	for i := range evs {
		if evs[i].Kind == bpf.Established {
			e.kernelEvent(&evs[i], now)
		}
	}
	e.answer(calls, now)
	for i := range evs {
		if evs[i].Kind != bpf.Established {
			e.kernelEvent(&evs[i], now)
		}
	}
}

// drain takes the events of netlink that wait, but not so many that other
// things would.
func (e *Engine) drain(now time.Time) {
	for range batch {
		select {
		case ev := <-e.fromPM:
			e.netlinkEvent(ev, now)
		default:
			return
		}
	}
}

// soon is when something costly is to be done that may have been asked for
// already, and was done last at a time.
func (e *Engine) soon(asked, last time.Time, every time.Duration) time.Time {
	if !asked.IsZero() {
		return asked
	}
	next := e.o.now().Add(every / 5)
	if earliest := last.Add(every); next.Before(earliest) {
		return earliest
	}
	return next
}

// advance does what is due and returns when the next is.
func (e *Engine) advance(now time.Time) time.Time {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	if due(e.readAt) {
		e.readAt = time.Time{}
		e.networkChanged(now)
		e.lastRead = e.o.now()
	}
	if due(e.auditAt) {
		e.auditAt, e.gap, e.repairAt = time.Time{}, true, now
	}
	if e.opening > 0 && e.auditAt.IsZero() && !e.o.Observe {
		e.auditAt = now.Add(e.o.StallAfter / 3)
	}
	if due(e.knowAt) {
		e.know(now)
	}
	if due(e.repairAt) {
		e.repairAt = time.Time{}
		e.repair(now)
		e.lastRepair = e.o.now()
	}
	for len(e.timers) > 0 && due(e.timers[0].next) {
		e.service(e.timers[0], now)
	}
	idle := e.openReady(now)
	if due(e.watchAt) {
		e.watchAt = time.Time{}
		e.putWatches()
		e.lastWatch = e.o.now()
	}
	next := now.Add(time.Hour)
	for _, t := range []time.Time{e.readAt, e.knowAt, e.repairAt, e.auditAt, e.watchAt, idle} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if len(e.timers) > 0 && e.timers[0].next.Before(next) {
		next = e.timers[0].next
	}
	return next
}

// schedule puts a connection where it belongs among the timers.
func (e *Engine) schedule(c *conn) {
	c.next = c.deadline()
	switch {
	case c.next.IsZero() && c.position >= 0:
		heap.Remove(&e.timers, c.position)
	case c.next.IsZero():
	case c.position >= 0:
		heap.Fix(&e.timers, c.position)
	default:
		heap.Push(&e.timers, c)
	}
}
