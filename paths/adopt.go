// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"container/heap"
	"slices"
	"time"
)

// Adopt hands a connection over to the engine once it has been accepted or,
// with initiator, dialed; token is that of mptcp.Status. Events that came
// before are not lost. Adopting it again replaces its policy, and leaves the
// subflows that it has. Token 0, plain TCP, is ignored.
func (e *Engine) Adopt(token uint32, p *Policy, initiator bool) {
	if token == 0 {
		return // plain TCP
	}
	p = p.WithDefaults()
	within := coalesce
	if p.passive() {
		within = coalesceIdle
	}
	e.put(call{kind: callAdopt, token: token, policy: p, initiator: initiator}, within)
}

// Forget ends what Adopt began. Say it before the connection is closed, or its
// subflows are taken for lost.
func (e *Engine) Forget(token uint32) {
	e.put(call{kind: callForget, token: token}, coalesceIdle)
}

func (e *Engine) adopt(token uint32, p *Policy, initiator bool, now time.Time) {
	c := e.conn(token, now)
	e.opening -= c.opener()
	c.policy, c.adopted, c.Initiator, c.started = p, true, initiator, false
	e.opening += c.opener()
	if !p.passive() && !e.o.Observe {
		e.listenToAll()
	}
	c.ours, c.theirs = nil, nil
	if err := e.keep(p.Keep); err != nil {
		e.log.Error("connections without subflows may be closed early", "err", err)
	}
	if !c.known() {
		e.recent = append(e.recent, token)
		if e.knowAt.IsZero() {
			e.knowAt = now.Add(knowWithin)
		}
	}
	if c.Extra > 0 {
		e.checkJoins(c, now)
	}
	e.findPaths(c)
	e.start(c, now)
	e.schedule(c)
}

// checkJoins looks at what the peer opened before the connection was adopted, the
// last ones first.
func (e *Engine) checkJoins(c *conn, now time.Time) {
	for _, s := range slices.Backward(slices.Clone(c.Subflows)) {
		if i := c.byHandle(s.handle); i >= 0 {
			e.checkJoin(c, i, now)
		}
	}
}

// opens reports whether this end may open subflows.
func (c *conn) opens() bool { return c.adopted && c.Initiator && !c.policy.passive() }

// opener counts a connection that opens.
func (c *conn) opener() int {
	if c.opens() {
		return 1
	}
	return 0
}

// known reports whether an event told how the connection began.
func (c *conn) known() bool { return c.First.Local.IsValid() }

// forgetAt is when a connection is forgotten that nobody has adopted.
func (c *conn) forgetAt() time.Time {
	if !c.known() {
		return c.heard.Add(knownWithin)
	}
	return c.heard.Add(adoptWithin)
}

// start tells the manager of a connection that may have more subflows.
func (e *Engine) start(c *conn, now time.Time) {
	if !c.adopted || !c.fully || !c.known() || c.started || c.over {
		return
	}
	c.started = true
	e.findPaths(c)
	for _, s := range c.Subflows {
		if s.Opened == FirstSubflow && s.State == Established && e.backup(c, s.Path) && !s.Backup && !c.policy.passive() {
			e.setBackup(c, SetBackup{Subflow: s, Backup: true})
		}
	}
	e.tell(c, now, Manager.Established)
	if slices.ContainsFunc(c.Subflows, func(s Subflow) bool { return s.Lost }) {
		e.tell(c, now, Manager.PathsChanged)
	}
}

// conn returns the connection with a token, a new one if there is none.
func (e *Engine) conn(token uint32, now time.Time) *conn {
	c := e.conns[token]
	if c == nil {
		c = e.room()
		c.Token, c.Begun, c.heard, c.position = token, now, now, -1
		c.policy = noPolicy
		e.conns[token] = c
	}
	return c
}

// noPolicy is what applies to connections until they are adopted.
var noPolicy = new(Policy).WithDefaults()

// room returns a new conn, or one of a connection that has ended: gateways see
// thousands of them each second.
func (e *Engine) room() *conn {
	last := len(e.free) - 1
	if last < 0 {
		return new(conn)
	}
	c := e.free[last]
	e.free = e.free[:last]
	*c = conn{Connection: Connection{Subflows: c.Subflows[:0]}, past: c.past[:0]}
	return c
}

func (e *Engine) forget(token uint32) {
	c := e.conns[token]
	if c == nil {
		return
	}
	delete(e.conns, token)
	c.dropped = true
	e.opening -= c.opener()
	if c.position >= 0 {
		heap.Remove(&e.timers, c.position)
	}
	if !c.queued && len(e.free) < maxFree {
		e.free = append(e.free, c)
	}
}

// service does what is due for a connection.
func (e *Engine) service(c *conn, now time.Time) {
	if !c.adopted {
		if !now.Before(c.forgetAt()) {
			e.forget(c.Token)
		}
		return
	}
	e.serviceSubflows(c, now)
	e.vanished(c, now)
	e.serviceDrained(c, now)
	if e.takeWakes(c, now) {
		e.due(c, now)
	}
	if !c.lost.IsZero() && !c.expired && !now.Before(c.lost.Add(c.policy.Keep)) {
		c.expired = true
		e.counters.Expired++
		e.notify(Notice{Time: now, Kind: NoticeExpired, Token: c.Token, Cause: c.lostBy})
		switch {
		case e.o.Observe:
			e.forget(c.Token) // the kernel ends it
			return
		case e.o.Expired != nil:
			e.o.Expired(c.Token, c.lostBy)
		}
	}
	e.schedule(c)
}

func (e *Engine) serviceSubflows(c *conn, now time.Time) {
	for i := range c.Subflows {
		switch s := &c.Subflows[i]; {
		case s.State == Waiting && !c.queued && !c.over && !now.Before(s.due):
			c.queued = true
			e.ready = append(e.ready, c)
		case s.State == Opening && !s.overdue && !now.Before(s.Since.Add(openWithin)):
			// Its port is needed to give it up, and only the kernel knows that.
			s.overdue = true
			e.gap = true
			e.repairAt = e.soon(e.repairAt, e.lastRepair, repairEvery)
		case s.State == Established && s.priority.times > 0 && !now.Before(s.tellAt()):
			e.tellPriority(c, s)
		}
	}
}

func (e *Engine) takeWakes(c *conn, now time.Time) bool {
	later := c.wakes[:0]
	for _, t := range c.wakes {
		if t.After(now) {
			later = append(later, t)
		}
	}
	some := len(later) < len(c.wakes)
	c.wakes = later
	return some
}

// due tells the manager that what it waited for may have come.
func (e *Engine) due(c *conn, now time.Time) {
	e.measure(c, now)
	if c.watch > 0 {
		if c.Bytes >= c.watch {
			c.watch = 0
		} else if e.polls {
			c.wakes = append(c.wakes, now.Add(pollEvery))
		}
	}
	if c.started {
		e.tell(c, now, Manager.Due)
	}
}

// measure asks the kernel how many bytes the connection has moved.
func (e *Engine) measure(c *conn, now time.Time) {
	bytes := c.gone
	for i := range c.Subflows {
		s := &c.Subflows[i]
		if s.State != Established {
			continue
		}
		seen, err := e.diag.One(s.local(), s.Remote, s.device)
		if err == nil {
			s.see(seen)
		}
		bytes += s.Acked + s.Received
	}
	if took := now.Sub(c.sampled).Seconds(); !c.sampled.IsZero() && took > 0 && bytes >= c.Bytes {
		c.Rate = float64(bytes-c.Bytes) * 8 / took
	}
	c.Bytes, c.sampled = max(bytes, c.Bytes), now
}
