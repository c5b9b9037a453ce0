// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

// begun: a connection exists, with its first subflow.
func (e *Engine) begun(s *seen, now time.Time) {
	c := e.conn(s.token, now)
	if find(c.Subflows, s.local, s.remote) < 0 && find(c.past, s.local, s.remote) < 0 {
		if !c.known() {
			c.First = s.path()
		}
		if !c.adopted {
			c.Initiator = !s.passive
		}
		f := c.add()
		s.first(f, now)
		c.number(f)
		e.opened(c, f, now)
		e.findPaths(c)
	}
	e.start(c, now)
	e.schedule(c)
}

// first writes what was seen to the first subflow of a connection.
func (s *seen) first(f *Subflow, now time.Time) {
	f.State, f.Since, f.Opened, f.Passive, f.Backup = Established, now, FirstSubflow, s.passive, s.backup
	s.on(f)
}

// passed: a connection has begun that has come to its end since then.
func (e *Engine) passed(s *seen, now time.Time) {
	e.tallies.opened[FirstSubflow]++
	if len(e.watchers) > 0 {
		var f Subflow
		s.first(&f, now)
		e.notice(NoticeOpened, s.token, &f, now)
	}
}

// opened counts a subflow that has come to be.
func (e *Engine) opened(c *conn, s *Subflow, now time.Time) {
	c.count(now, NoCause)
	e.tallies.opened[s.Opened]++
	if s.heals.Cause != NoCause {
		e.tallies.healed[s.heals.Cause]++
	}
	e.notice(NoticeOpened, c.Token, s, now)
}

// joined: another subflow has come to be.
func (e *Engine) joined(s *seen, now time.Time) {
	c := e.conn(s.token, now)
	if find(c.Subflows, s.local, s.remote) >= 0 || find(c.closing, s.local, s.remote) >= 0 {
		return
	}
	ours := s.either || !s.passive
	if i := opening(c.closing, s.path(), Closing); ours && i >= 0 {
		// It was not wanted any more while it was being opened.
		s.on(&c.closing[i])
		e.destroy(c, c.closing[i])
		return
	}
	i := -1
	if ours {
		i = opening(c.Subflows, s.path(), Opening)
	}
	if i < 0 {
		by := ByPeer
		if !s.passive && !s.either {
			by = Found
		}
		f := c.add()
		f.Opened, f.Passive = by, by == ByPeer
		i = len(c.Subflows) - 1
	}
	f := &c.Subflows[i]
	s.on(f)
	f.State, f.Since, f.overdue, f.missed = Established, now, false, time.Time{}
	c.number(f)
	f.Backup = f.Backup || s.backup && !f.resting
	if f.resting {
		f.prioritise(false, now.Add(restFor))
	}
	c.Extra++
	e.opened(c, f, now)
	opened := *f
	if !e.checkJoin(c, i, now) && c.started {
		e.tell(c, now, func(m Manager, c *Connection) []Action { return m.SubflowOpened(c, opened) })
		// It takes over from those that have lost their route.
		if slices.ContainsFunc(c.Subflows, func(s Subflow) bool { return s.Lost }) {
			e.tell(c, now, Manager.PathsChanged)
		}
	}
	e.schedule(c)
}

// checkJoin closes a subflow of the peer that the policy does not take, and
// reports whether it did.
func (e *Engine) checkJoin(c *conn, i int, now time.Time) bool {
	s := c.Subflows[i]
	if !c.adopted || c.over || !s.Passive || s.State != Established || s.Opened != ByPeer || e.o.Observe {
		return false
	}
	switch {
	case c.policy.refuses(s.Remote.Addr()):
		e.close(c, s, Forbidden, now)
	case !c.limiter(&c.theirs).AllowN(now, 1), len(c.Subflows) > c.policy.MaxSubflows && !e.makeRoom(c, s, now):
		e.close(c, s, TooMany, now)
	default:
		return false
	}
	return true
}

const (
	// deaf is how long a peer that has something to acknowledge has to be silent
	// on a subflow before another one may take its place.
	deaf = time.Second
	// silent is the same where nothing is to be acknowledged.
	silent = 30 * time.Second
)

// makeRoom ends the subflow on which nothing was heard for the longest time, for
// a new one of the peer. A peer that has lost an address cannot reset the
// subflows from there, nor always tell of it: it comes back on another one.
func (e *Engine) makeRoom(c *conn, newcomer Subflow, now time.Time) bool {
	var oldest Subflow
	var age time.Duration
	gone := 0 // their ends are about to be told
	for _, s := range c.Subflows {
		if s.State != Established || s.handle == newcomer.handle {
			continue
		}
		k, err := e.diag.One(s.local(), s.Remote, 0)
		switch {
		case errors.Is(err, sockdiag.ErrGone):
			if gone++; len(c.Subflows)-gone <= c.policy.MaxSubflows {
				return true
			}
		case err != nil:
			e.refused(err)
		case k.LastAck > age && (k.LastAck >= silent || k.Unacked > 0 && k.LastAck >= deaf):
			oldest, age = s, k.LastAck
		}
	}
	i := c.byHandle(oldest.handle)
	if age == 0 || i < 0 {
		return false
	}
	e.destroy(c, oldest)
	e.lose(c, i, TimedOut, unix.ETIMEDOUT, now)
	return true
}

// failed: a subflow that this end asked for has not come to be.
func (e *Engine) failed(s *seen, cause Cause, errno unix.Errno, now time.Time) {
	c := e.conns[s.token]
	if c == nil {
		return
	}
	if i := opening(c.closing, s.path(), Closing); i >= 0 {
		c.closing = append(c.closing[:i], c.closing[i+1:]...)
		return
	}
	if i := opening(c.Subflows, s.path(), Opening); i >= 0 {
		e.notOpened(c, i, cause, errno, now)
		e.schedule(c)
	}
}

// notOpened ends an attempt.
func (e *Engine) notOpened(c *conn, i int, cause Cause, errno unix.Errno, now time.Time) {
	s := c.remove(i)
	s.Error = errno
	c.miss(s.heals)
	c.troubled(s.Path, cause, 0)
	c.remember(&s, cause, now)
	e.tallies.failed[cause]++
	e.notice(NoticeFailed, c.Token, &s, now)
	e.tellClosed(c, &s, now)
}

func (e *Engine) tellClosed(c *conn, s *Subflow, now time.Time) {
	if c.started {
		e.tell(c, now, func(m Manager, c *Connection) []Action { return m.SubflowClosed(c, *s) })
	}
}

// ended: a subflow that stood has ended.
func (e *Engine) ended(s *seen, cause Cause, errno unix.Errno, now time.Time) {
	c := e.conns[s.token]
	if c == nil {
		return
	}
	if i := find(c.closing, s.local, s.remote); i >= 0 {
		s.figures(&c.closing[i])
		e.closed(c, i, now)
	} else if i := find(c.Subflows, s.local, s.remote); i >= 0 {
		s.figures(&c.Subflows[i])
		e.lose(c, i, cause, errno, now)
	}
	e.schedule(c)
}

// closed: what this end has closed is gone.
func (e *Engine) closed(c *conn, i int, now time.Time) {
	s := c.closing[i]
	c.closing = append(c.closing[:i], c.closing[i+1:]...)
	c.remember(&s, s.Closed, now)
	e.tallies.closed[s.Closed]++
	e.notice(NoticeClosed, c.Token, &s, now)
}

// lose records that an established subflow has ended.
func (e *Engine) lose(c *conn, i int, cause Cause, errno unix.Errno, now time.Time) {
	s := c.remove(i)
	s.Error = errno
	c.troubled(s.Path, cause, now.Sub(s.Since))
	if !s.Passive {
		c.miss(loss{s.Path, cause})
	}
	c.remember(&s, cause, now)
	e.tallies.closed[cause]++
	e.notice(NoticeClosed, c.Token, &s, now)
	c.count(now, cause)
	if len(c.drains) > 0 {
		c.drainAt = now // a drained one may be needed
	}
	e.tellClosed(c, &s, now)
}
