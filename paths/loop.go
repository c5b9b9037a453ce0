// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"container/heap"
	"context"
	"time"
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
			e.called()
		case evs := <-e.fromBPF:
			// What was asked for before they came: a connection may have ended
			// because of it.
			e.called()
			for i := range evs {
				e.kernelEvent(&evs[i])
			}
		case ev := <-e.fromPM:
			e.called()
			e.netlinkEvent(ev)
			e.drain()
		case <-e.changed:
			e.readAt = e.soon(e.readAt, e.lastRead, readEvery)
		case <-timer.C:
		}
		timer.Reset(e.advance(e.o.now()).Sub(e.o.now()))
	}
}

// drain takes the events of netlink that wait, but not so many that other
// things would.
func (e *Engine) drain() {
	for range batch {
		select {
		case ev := <-e.fromPM:
			e.netlinkEvent(ev)
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

// call is what the loop is asked for.
type call struct {
	kind      callKind
	f         func() // for callFunc
	token     uint32
	policy    Policy // for callAdopt
	initiator bool
}

type callKind uint8

const (
	callFunc callKind = iota
	callAdopt
	callForget
)

// do has the loop call f, see put.
func (e *Engine) do(f func(), within time.Duration) { e.put(call{f: f}, within) }

// put has the loop take a call within some time: to wake it for each connection
// would cost more than the work. Events that come later are taken after it.
func (e *Engine) put(c call, within time.Duration) {
	select {
	case <-e.done:
		return
	default:
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, c)
	if within == 0 {
		e.signal()
		return
	}
	if at := time.Now().Add(within); e.laterAt.IsZero() || at.Before(e.laterAt) {
		e.laterAt = at
		e.later.Reset(within)
	}
}

// ask has the loop call f and waits for it. It reports whether there is a loop
// that did.
func (e *Engine) ask(f func()) bool {
	called := make(chan struct{})
	e.do(func() { f(); close(called) }, 0)
	select {
	case <-called:
		return true
	case <-e.done:
		return false
	}
}

func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// maxCalls bounds the room that is kept for calls.
const maxCalls = 1024

// called does what was asked for.
func (e *Engine) called() {
	e.mu.Lock()
	calls := e.calls
	e.calls, e.made, e.laterAt = e.made, nil, time.Time{}
	e.mu.Unlock()
	for i := range calls {
		switch c := &calls[i]; c.kind {
		case callFunc:
			c.f()
		case callAdopt:
			e.adopt(c.token, c.policy, c.initiator, e.o.now())
		case callForget:
			e.forget(c.token)
		}
	}
	if cap(calls) > maxCalls {
		return
	}
	clear(calls)
	e.mu.Lock()
	e.made = calls[:0]
	e.mu.Unlock()
}
