// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

// call is what the loop is asked for.
type call struct {
	kind      callKind
	f         func() // for callFunc
	token     uint32
	policy    *Policy // for callAdopt
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
	switch {
	case within == 0:
		e.signal()
	case e.laterAt.IsZero() || within < e.within: // else it is woken soon enough
		if at := time.Now().Add(within); e.laterAt.IsZero() || at.Before(e.laterAt) {
			e.laterAt, e.within = at, within
			e.later.Reset(within)
		}
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
func (e *Engine) called(now time.Time) { e.answer(e.asked(), now) }

// asked takes what the loop is asked for, and notes which connections have come to
// their end by that: there is nothing to do for those that have just begun.
func (e *Engine) asked() []call {
	e.mu.Lock()
	calls := e.calls
	e.calls, e.made, e.laterAt = e.made, nil, time.Time{}
	e.mu.Unlock()
	for i := range calls {
		if c := &calls[i]; c.kind == callForget {
			e.ending[c.token] = i
		}
	}
	return calls
}

func (e *Engine) answer(calls []call, now time.Time) {
	for i := range calls {
		switch c := &calls[i]; c.kind {
		case callFunc:
			c.f()
		case callAdopt:
			if end, ends := e.ending[c.token]; !ends || end < i {
				e.adopt(c.token, c.policy, c.initiator, now)
			}
		case callForget:
			e.forget(c.token)
		}
	}
	if cap(calls) > maxCalls {
		e.ending = make(map[uint32]int)
		return
	}
	clear(e.ending)
	clear(calls)
	e.mu.Lock()
	e.made = calls[:0]
	e.mu.Unlock()
}
