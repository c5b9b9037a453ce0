// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// Why the subflows of a path that is drained stay open.
var (
	ErrKernels = errors.New("its subflow is left to the path manager of the kernel")
	ErrPeers   = errors.New("its subflow is the peer's, which has opened it")
)

const (
	// quietFor is how long at least, and quietRTTs how many round trips, nothing
	// has to move on a subflow until it counts as drained.
	quietFor  = 100 * time.Millisecond
	quietRTTs = 2
	// drainWithin is how long a subflow may go on carrying data of a peer that
	// does not heed MP_PRIO, or waiting for acknowledgements, while another one
	// works: what it has not delivered then is sent again there.
	drainWithin = 10 * time.Second
	// drainEvery is how often it is looked at, drainTell how often the peer is told.
	drainEvery = 50 * time.Millisecond
	drainTell  = time.Second
	// mostPaths bounds the paths beside the first that have a number.
	mostPaths = 32
	// firstNumber is that of the path of the first subflow.
	firstNumber = 1
)

// Drain has paths of a connection given up, from now on, instead of those that
// were asked for before. They are numbered from 1 in the order in which they came
// into the connection; one that comes back has the number that it had. Both ends
// are told not to use them, and once nothing is on the way their subflows are
// closed. None is opened there, whatever the manager wants, until the path is
// asked for no more: then it is the manager's again.
//
// A connection keeps one subflow that works. If it loses all others, it has its
// drained paths back until it does not need them.
//
// done, if not nil, is called once, on the engine's goroutine, with nil, or with
// ErrKernels, ErrPeers or ErrClosed if this end closes nothing there.
func (e *Engine) Drain(token uint32, numbers []int, done func(error)) {
	numbers = slices.Clone(numbers)
	if done == nil {
		done = func(error) {}
	}
	select {
	case <-e.done:
		done(ErrClosed)
	default:
		e.do(func() { done(e.giveUp(token, numbers, e.o.now())) }, coalesce)
	}
}

func (e *Engine) giveUp(token uint32, numbers []int, now time.Time) error {
	c := e.conns[token]
	if c == nil || !c.adopted {
		return ErrKernels
	}
	c.drains, c.drainAt = numbers, now
	e.serviceDrained(c, now)
	e.schedule(c)
	switch {
	case !c.Initiator:
		return ErrPeers
	case e.o.Observe || c.over || c.policy.passive():
		return ErrKernels
	}
	return nil
}

// number gives a subflow that has come to be the number of its path.
func (c *conn) number(s *Subflow) {
	if len(c.drains) > 0 {
		c.drainAt = s.Since
	}
	taken := func(n int) bool {
		return slices.ContainsFunc(c.Subflows, func(o Subflow) bool { return o.number == n })
	}
	if s.Path == c.First && !taken(firstNumber) {
		s.number = firstNumber
		return
	}
	spare := -1
	for i, p := range c.others {
		if n := firstNumber + 1 + i; taken(n) {
			continue
		} else if p == s.Path {
			s.number = n
			return
		}
		spare = i
	}
	if len(c.others) < mostPaths {
		spare = len(c.others)
		c.others = append(c.others, s.Path)
	}
	if spare >= 0 {
		c.others[spare] = s.Path
		s.number = firstNumber + 1 + spare
	}
}

// draining is how far the end of a subflow has come that is not to be used.
type draining struct {
	since  time.Time // zero: it is in use
	backup bool      // it was before
	told   time.Time // last
	moved  uint64    // bytes, both ways
	quiet  time.Time // since when they are as many
}

// unwanted reports whether the path of a subflow is to be given up.
func (c *conn) unwanted(s *Subflow) bool { return slices.Contains(c.drains, s.number) }

// spared reports whether the connection has another subflow than the one with a
// handle that is to be used.
func (c *conn) spared(handle uint64) bool {
	return slices.ContainsFunc(c.Subflows, func(s Subflow) bool {
		return s.handle != handle && s.State == Established && !s.Lost && !c.unwanted(&s)
	})
}

// serviceDrained closes subflows, and lets those go on that are wanted again.
func (e *Engine) serviceDrained(c *conn, now time.Time) {
	if c.drainAt.IsZero() || now.Before(c.drainAt) {
		return
	}
	c.drainAt = time.Time{}
	if c.over || !c.opens() || e.o.Observe {
		return
	}
	// Managers change the list when they are told.
	for _, was := range slices.Clone(c.Subflows) {
		i := c.byHandle(was.handle)
		if i < 0 {
			continue
		}
		s := &c.Subflows[i]
		give := c.unwanted(s) && c.spared(s.handle)
		switch {
		case s.State == Withheld && (!c.unwanted(s) || c.Working() == 0):
			e.restore(c, i, now)
		case s.State != Established:
		case give && s.draining.since.IsZero():
			e.beginDrain(c, s, now)
		case give:
			e.endDrain(c, s, now)
		case !s.draining.since.IsZero():
			e.useAgain(c, s, now)
		}
	}
}

// beginDrain has both ends send on other subflows.
func (e *Engine) beginDrain(c *conn, s *Subflow, now time.Time) {
	s.draining = draining{since: now, backup: s.Backup, quiet: now}
	s.Backup, s.resting, s.priority = true, false, priority{}
	e.tellDrain(c, s, now)
	c.drainAt = now.Add(drainEvery)
}

// tellDrain makes a subflow a backup. It is told again, because MP_PRIO (RFC 8684
// section 3.3.8) is not acknowledged.
func (e *Engine) tellDrain(c *conn, s *Subflow, now time.Time) {
	s.draining.told = now
	if err := e.client.SetBackup(c.Token, s.local(), s.Remote, true); err != nil {
		e.refused(err)
		c.over = c.over || errors.Is(err, pm.ErrNotUserspace)
	}
}

func (e *Engine) useAgain(c *conn, s *Subflow, now time.Time) {
	s.Backup = s.draining.backup
	s.draining = draining{}
	s.prioritise(s.Backup, now)
	e.tellPriority(c, s)
}

// endDrain closes a subflow once nothing moves on it any more.
func (e *Engine) endDrain(c *conn, s *Subflow, now time.Time) {
	c.drainAt = now.Add(drainEvery)
	k, err := e.diag.One(s.local(), s.Remote, s.device)
	if err != nil {
		return // its end is about to be told
	}
	if moved := k.Acked + k.Received; moved != s.draining.moved || k.Unacked > 0 {
		s.draining.moved, s.draining.quiet = moved, now
	}
	quiet := now.Sub(s.draining.quiet) >= max(quietFor, quietRTTs*k.RTT)
	if !quiet && now.Sub(s.draining.told) >= drainTell {
		e.tellDrain(c, s, now)
	}
	if !quiet && (now.Sub(s.draining.since) < drainWithin || !e.anotherWorks(c, s)) {
		return
	}
	s.see(k)
	s.Backup = s.draining.backup
	kept := *s
	e.close(c, kept, Drained, now)
	// Its place is not to be filled.
	c.Subflows = append(c.Subflows, Subflow{
		Path: kept.Path, State: Withheld, Since: now, Opened: kept.Opened, Closed: Drained, Backup: kept.Backup,
		handle: kept.handle, number: kept.number,
	})
}

// anotherWorks reports whether the peer answers on another subflow.
func (e *Engine) anotherWorks(c *conn, s *Subflow) bool {
	return slices.ContainsFunc(c.Subflows, func(o Subflow) bool {
		if o.handle == s.handle || o.State != Established || o.Lost || c.unwanted(&o) {
			return false
		}
		k, err := e.diag.One(o.local(), o.Remote, o.device)
		return err == nil && (k.Unacked == 0 || k.LastAck < deaf)
	})
}

// restore has the manager see that a subflow is missing.
func (e *Engine) restore(c *conn, i int, now time.Time) {
	s := c.remove(i)
	s.State, s.Since = Closed, now
	e.tellClosed(c, &s, now)
}
