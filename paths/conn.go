// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// pastSubflows is how many closed subflows of a connection are remembered.
const pastSubflows = 8

// maxFree is how many of those that have ended are kept for others.
const maxFree = 512

// conn is what the engine knows of a connection.
type conn struct {
	Connection
	policy  *Policy // of others, too
	adopted bool
	heard   time.Time // of it first; those that nobody adopts are forgotten
	fully   bool      // more subflows may be opened
	started bool      // the manager was told so
	denies0 bool      // the peer takes no joins at the address of the first subflow
	only4   bool      // its socket is an IPv4 one
	over    bool      // the kernel knows no such connection, or takes no commands for it
	halved  bool      // a stream has ended: the kernel opens no more subflows

	handles uint64
	closing []Subflow                // this end has closed them
	past    []Subflow                // closed ones, the last ones
	trouble []trouble                // by path
	missing []loss                   // subflows that nothing has restored yet
	ids     map[netip.AddrPort]uint8 // local addresses that the kernel knows, or is told; port 0 is any
	told    map[netip.AddrPort]bool  // announced addresses

	others  []Path    // than the first, in the order of their numbers
	drains  []int     // numbers of paths that are to be given up
	drainAt time.Time // when to look at them; zero is never

	lost     time.Time // when it lost its last subflow; zero while it has some
	lostBy   Cause     // how that ended
	expired  bool
	wakes    []time.Time
	watch    uint64        // bytes
	gone     uint64        // bytes of closed subflows
	sampled  time.Time     // when Bytes was measured
	ours     *rate.Limiter // of openings by this end; nil is not used yet
	theirs   *rate.Limiter // by the peer
	queued   bool          // is in Engine.ready
	dropped  bool          // is not among Engine.conns any more
	next     time.Time     // when to look at it; zero is never
	position int           // in Engine.timers
}

// loss is a subflow that was lost.
type loss struct {
	Path
	Cause
}

// miss records a loss.
func (c *conn) miss(l loss) {
	if len(c.missing) < pastSubflows && l.loss() {
		c.missing = append(c.missing, l)
	}
}

// restores takes a loss off the record that a new subflow on a path makes up
// for: one on that path, or on one that does not exist any more.
func (c *conn) restores(p Path) loss {
	i := slices.IndexFunc(c.missing, func(l loss) bool { return l.Path == p })
	if i < 0 {
		i = slices.IndexFunc(c.missing, func(l loss) bool { return !c.Has(l.Path) })
	}
	if i < 0 {
		return loss{}
	}
	l := c.missing[i]
	c.missing = slices.Delete(c.missing, i, i+1)
	return l
}

// replaces is the loss of a subflow without a route, for which no other one was
// asked for yet.
func (c *conn) replaces() loss {
	for i := range c.Subflows {
		if s := &c.Subflows[i]; s.Lost && s.State == Established && !s.heir {
			s.heir = true
			return loss{s.Path, PathLost}
		}
	}
	return loss{}
}

// add makes a new subflow known, of which nothing is said yet.
func (c *conn) add() *Subflow {
	c.handles++
	c.Subflows = append(c.Subflows, Subflow{handle: c.handles})
	return &c.Subflows[len(c.Subflows)-1]
}

// find returns the index of the subflow with these addresses, or -1.
func find(subflows []Subflow, local, remote netip.AddrPort) int {
	return slices.IndexFunc(subflows, func(s Subflow) bool {
		return s.Port == local.Port() && s.Local == local.Addr() && s.Remote == remote && s.Port != 0
	})
}

// opening returns the index of the subflow that is longest in state on a path,
// with its port still unknown, or -1.
func opening(subflows []Subflow, p Path, state State) int {
	return slices.IndexFunc(subflows, func(s Subflow) bool { return s.State == state && s.Path == p && s.Port == 0 })
}

func (c *conn) byHandle(handle uint64) int {
	return slices.IndexFunc(c.Subflows, func(s Subflow) bool { return s.handle == handle })
}

// remove takes the subflow out of the list and returns it.
func (c *conn) remove(i int) Subflow {
	s := c.Subflows[i]
	c.Subflows = slices.Delete(c.Subflows, i, i+1)
	return s
}

// remember keeps a subflow that has ended.
func (c *conn) remember(s *Subflow, cause Cause, now time.Time) {
	if s.State == Established || s.State == Closing {
		c.gone += s.Acked + s.Received
	}
	s.State, s.Since, s.Closed = Closed, now, cause
	if len(c.past) == pastSubflows {
		c.past = slices.Delete(c.past, 0, 1)
	}
	c.past = append(c.past, *s)
}

// troubleOn returns the record of a path, nil if there is none.
func (c *conn) troubleOn(p Path) *trouble {
	if i := slices.IndexFunc(c.trouble, func(t trouble) bool { return t.Path == p }); i >= 0 {
		return &c.trouble[i]
	}
	return nil
}

// troubled records the end of a subflow, which lived so long, or never. Nobody
// asks where none is opened.
func (c *conn) troubled(p Path, cause Cause, life time.Duration) {
	if c.policy.passive() {
		return
	}
	t := c.troubleOn(p)
	if t == nil {
		c.trouble = append(c.trouble, trouble{Path: p})
		t = &c.trouble[len(c.trouble)-1]
	}
	t.lost(cause, life)
}

// another gives a path another chance at once.
func (c *conn) another(p Path) {
	c.trouble = slices.DeleteFunc(c.trouble, func(t trouble) bool { return t.Path == p })
	for i := range c.Subflows {
		if s := &c.Subflows[i]; s.State == Waiting && s.Path == p {
			s.due = s.Since
		}
	}
}

// forgive gives the paths on which subflows could not be opened another chance
// at once: it may have been for a route that is there now.
func (c *conn) forgive() {
	for _, t := range slices.Backward(c.trouble) {
		if t.cause != ClosedByPeer && t.cause != ResetReceived { // else somebody answered: it is not for want of a route
			c.another(t.Path)
		}
	}
}

// limiter returns one of the two, after making it if it is the first time.
func (c *conn) limiter(of **rate.Limiter) *rate.Limiter {
	if *of == nil {
		n := c.policy.OpensPerSecond
		*of = rate.NewLimiter(rate.Limit(n), max(int(n), 1))
	}
	return *of
}

// count brings up to date whether the connection has lost all subflows. Those of
// the initiator that have no route any more are lost.
func (c *conn) count(now time.Time, cause Cause) {
	switch {
	case c.Working() > 0, !c.Initiator && c.Live() > 0:
		c.lost, c.lostBy, c.expired = time.Time{}, NoCause, false
	case c.lost.IsZero():
		c.lost, c.lostBy = now, cause
	}
}

// deadline is when something is to be done about the connection; zero is never.
func (c *conn) deadline() time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !c.adopted {
		return c.forgetAt()
	}
	for i := range c.Subflows {
		switch s := &c.Subflows[i]; {
		case !s.missed.IsZero():
			earlier(s.missed.Add(tellWithin))
		case s.State == Waiting && !c.over && !c.queued:
			earlier(s.due)
		case s.State == Opening && !s.overdue:
			earlier(s.Since.Add(openWithin))
		case s.State == Established && s.priority.times > 0:
			earlier(s.tellAt())
		}
	}
	for _, t := range c.wakes {
		earlier(t)
	}
	if !c.drainAt.IsZero() {
		earlier(c.drainAt)
	}
	if !c.lost.IsZero() && !c.expired {
		earlier(c.lost.Add(c.policy.Keep))
	}
	return next
}

// timers is a heap of the connections with a deadline.
type timers []*conn

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].next.Before(t[j].next) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].position, t[j].position = i, j
}

// Push is for container/heap.
func (t *timers) Push(x any) {
	c := x.(*conn)
	c.position = len(*t)
	*t = append(*t, c)
}

// Pop is for container/heap.
func (t *timers) Pop() any {
	last := len(*t) - 1
	c := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	c.position = -1
	return c
}
