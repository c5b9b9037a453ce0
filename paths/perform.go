// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp/pm"
)

const (
	// batch is how many subflows are opened before events are looked at again.
	batch = 64
	// mostWakes bounds what a manager may ask for.
	mostWakes = 32
)

// endpoints are those of the in-kernel path manager, as of a time.
type endpoints struct {
	at     time.Time
	list   []pm.Endpoint
	limits pm.Limits
}

// tell has the manager of a connection look at it and does what that wants.
func (e *Engine) tell(c *conn, now time.Time, event func(Manager, *Connection) []Action) {
	if e.o.Observe || c.over || c.policy.passive() {
		return
	}
	e.readEndpoints(now)
	c.Now, c.Endpoints, c.Limits = now, e.endpoints.list, e.endpoints.limits
	for _, a := range event(c.policy.Manager, &c.Connection) {
		e.perform(c, a, now)
	}
}

func (e *Engine) readEndpoints(now time.Time) {
	if now.Sub(e.endpoints.at) < endpointsFor {
		return
	}
	list, err := e.client.Endpoints()
	if err == nil {
		e.endpoints.limits, err = e.client.Limits()
	}
	if err != nil {
		e.refused(err)
		return
	}
	e.endpoints.list, e.endpoints.at = list, now
}

func (e *Engine) perform(c *conn, a Action, now time.Time) {
	switch a := a.(type) {
	case Open:
		e.request(c, a, now)
	case Close:
		e.close(c, a.Subflow, a.Cause, now)
	case SetBackup:
		e.setBackup(c, a)
	case Announce:
		e.announce(c, a.Addr)
	case Withdraw:
		e.withdraw(c, a.Addr)
	case Wake:
		if len(c.wakes) < mostWakes {
			c.wakes = append(c.wakes, now.Add(max(a.After, 0)))
		}
	case Watch:
		c.watch = a.Bytes
		if e.polls || e.o.Events == nil {
			e.polls = true
			c.wakes = append(c.wakes, now.Add(pollEvery))
			return
		}
		e.watches = append(e.watches, bpf.Watch{Token: c.Token, Bytes: a.Bytes})
		e.watchAt = e.soon(e.watchAt, e.lastWatch, watchEvery)
	}
}

// request has a subflow wait for its turn.
func (e *Engine) request(c *conn, o Open, now time.Time) {
	if c.halved {
		return
	}
	if c.kept() >= c.policy.MaxSubflows {
		e.counters.OverLimit++
		return
	}
	heals := c.restores(o.Path)
	if heals.Cause == NoCause {
		heals = c.replaces()
	}
	s := c.add()
	s.Path, s.State, s.Since, s.due, s.Opened = o.Path, Waiting, now, now, ByPolicy
	s.Backup, s.heals = o.Backup || e.backup(c, o.Path), heals
	if s.heals.Cause != NoCause {
		s.Opened = s.heals.Cause
	}
	if t := c.troubleOn(o.Path); t != nil {
		s.due = now.Add(t.delay())
	}
}

// backup reports whether the policy wants subflows on a path to be backups.
func (e *Engine) backup(c *conn, p Path) bool {
	a, ok := e.net.find(p.Local)
	return ok && slices.Contains(c.policy.BackupInterfaces, a.device)
}

// openReady opens subflows, one for each connection in turn, as far as the
// limits allow. It returns when to go on; zero if nothing is left.
func (e *Engine) openReady(now time.Time) time.Time {
	for range batch {
		if len(e.ready) == 0 {
			return time.Time{}
		}
		c := e.ready[0]
		i := slices.IndexFunc(c.Subflows, func(s Subflow) bool { return s.State == Waiting && !s.due.After(now) })
		if i < 0 || c.dropped || c.over {
			e.leaveQueue(c)
			continue
		}
		if wait := e.limit(c, now); wait > 0 {
			e.counters.Delayed++
			for j := range c.Subflows {
				if s := &c.Subflows[j]; s.State == Waiting && !s.due.After(now) {
					s.due = now.Add(wait)
				}
			}
			e.leaveQueue(c)
			continue
		}
		if !e.all.AllowN(now, 1) {
			e.counters.Delayed++
			return now.Add(time.Duration(float64(time.Second) / e.o.OpensPerSecond))
		}
		c.limiter(&c.ours).AllowN(now, 1)
		e.create(c, i, now)
		e.ready = append(e.ready[1:], c)
	}
	return now
}

// limit is how long a connection has to wait for its own limit.
func (e *Engine) limit(c *conn, now time.Time) time.Duration {
	if missing := 1 - c.limiter(&c.ours).TokensAt(now); missing > 0 {
		return max(time.Duration(missing/c.policy.OpensPerSecond*float64(time.Second)), time.Millisecond)
	}
	return 0
}

func (e *Engine) leaveQueue(c *conn) {
	e.ready[0] = nil
	e.ready = e.ready[1:]
	c.queued = false
	if !c.dropped {
		e.schedule(c)
	}
}

// create tells the kernel to open a subflow that has waited.
func (e *Engine) create(c *conn, i int, now time.Time) {
	s := &c.Subflows[i]
	s.State, s.Since, s.device, s.routed = Opening, now, e.net.device(s.Local), c.Has(s.Path)
	local := pm.Endpoint{Addr: s.Local, IfIndex: s.device}
	if !s.Backup && c.carriedWithout(i) {
		s.resting = true
	}
	if s.Backup || s.resting {
		local.Flags = pm.Backup
	}
	local.ID = e.addressID(c, netip.AddrPortFrom(s.Local, 0))
	err := e.client.CreateSubflow(c.Token, local, s.Remote)
	if err == nil {
		return
	}
	e.refused(err)
	var op *pm.OpError
	switch errors.As(err, &op); {
	case errors.Is(err, pm.ErrNotUserspace), errors.Is(err, pm.ErrGone):
		c.remove(i)
		c.over = true
		return
	case op == nil:
		e.log.Error("cannot open a subflow", "err", err)
		op = new(pm.OpError)
	case strings.Contains(op.Message, "families"):
		c.only4 = true
		e.findPaths(c)
		c.remove(i)
		return
	case op.Errno == unix.ENOTCONN:
		// The connection was fully established, so one of its streams has ended
		// (mptcp_is_fully_established in net/mptcp/protocol.h).
		c.halved = true
		e.notOpened(c, i, Refused, op.Errno, now)
		c.Subflows = slices.DeleteFunc(c.Subflows, func(s Subflow) bool { return s.State == Waiting })
		return
	case op.Errno == unix.EINVAL:
		c.ids = nil // to be asked for again
	}
	e.notOpened(c, i, Refused, op.Errno, now)
}

// refused counts an answer of the kernel.
func (e *Engine) refused(err error) {
	var errno unix.Errno
	errors.As(err, &errno)
	e.counters.Refused[errno]++
}

// addressID returns the identifier of a local address of a connection, that
// which the kernel knows if there is one.
func (e *Engine) addressID(c *conn, a netip.AddrPort) uint8 {
	if id, ok := c.ids[a]; ok {
		return id
	}
	if c.ids == nil {
		c.ids = make(map[netip.AddrPort]uint8)
		// Before Linux 6.9 that cannot be asked. What this end has used then is
		// all there is, save for addresses that the peer has joined.
		known, err := e.client.Addresses(c.Token)
		if err != nil {
			e.refused(err)
		}
		for _, k := range known {
			c.ids[netip.AddrPortFrom(k.Addr, k.Port)] = k.ID
		}
		if id, ok := c.ids[a]; ok && id != 0 {
			return id
		}
	}
	var taken [256]bool
	for _, id := range c.ids {
		taken[id] = true
	}
	id := 1
	for id < 255 && taken[id] {
		id++
	}
	c.ids[a] = uint8(id)
	return uint8(id)
}

// close closes a subflow, in whatever state it is.
func (e *Engine) close(c *conn, s Subflow, cause Cause, now time.Time) {
	i := c.byHandle(s.handle)
	if i < 0 {
		return
	}
	s = c.remove(i)
	if s.State == Waiting {
		c.miss(s.heals)
		return
	}
	was := s.State
	s.State, s.Since, s.Closed = Closing, now, cause
	if !s.heir {
		c.miss(loss{s.Path, cause})
	}
	c.closing = append(c.closing, s)
	c.count(now, cause)
	if was == Established && !(cause == PathLost && e.withdrawLost(c, s)) {
		e.destroy(c, s)
	}
}

// withdrawLost tells the peer that the address of a subflow is gone
// (REMOVE_ADDR), which closes all its subflows on both sides: the reset that
// closes a single one cannot leave any more, so that the peer would go on to
// send over it for a quarter of an hour. It reports whether that was done.
//
// The kernel tells on the oldest subflow, which may be the one that is lost. So
// that one is closed first; the kernel forgets its address with it, and learns
// it again by an announcement. That of the first subflow cannot be announced.
func (e *Engine) withdrawLost(c *conn, s Subflow) bool {
	same := func(o Subflow) bool { return o.handle != s.handle && o.Local == s.Local && o.LocalID == s.LocalID }
	if slices.ContainsFunc(c.closing, func(o Subflow) bool { return same(o) && o.Closed == PathLost && o.Port != 0 }) {
		return true
	}
	if slices.ContainsFunc(c.Subflows, func(o Subflow) bool { return same(o) && o.State == Established && !o.Lost }) {
		return false
	}
	if s.LocalID != 0 {
		e.destroy(c, s)
		err := e.client.Announce(c.Token, pm.Endpoint{ID: s.LocalID, Addr: s.Local})
		if err == nil {
			err = e.client.Remove(c.Token, s.LocalID)
		}
		if err != nil {
			e.refused(err)
		}
		return true
	}
	if err := e.client.Remove(c.Token, 0); err != nil {
		e.refused(err)
		return false
	}
	e.destroy(c, s) // the kernel has only told
	return true
}

func (e *Engine) destroy(c *conn, s Subflow) {
	// The kernel forgets the identifier of the address along with it.
	delete(c.ids, netip.AddrPortFrom(s.Local, 0))
	if err := e.client.DestroySubflow(c.Token, s.local(), s.Remote); err != nil {
		e.refused(err)
	}
}

func (e *Engine) setBackup(c *conn, a SetBackup) {
	i := c.byHandle(a.handle)
	if i < 0 || c.Subflows[i].State != Established {
		return
	}
	s := &c.Subflows[i]
	if err := e.client.SetBackup(c.Token, s.local(), s.Remote, a.Backup); err != nil {
		e.refused(err)
		return
	}
	s.Backup, s.resting = a.Backup, false
	s.prioritise(a.Backup, e.o.now())
	s.priority.times-- // just now
}

func (e *Engine) announce(c *conn, a netip.AddrPort) {
	if c.told[a] || a == netip.AddrPortFrom(c.First.Local, 0) {
		return
	}
	if c.told == nil {
		c.told = make(map[netip.AddrPort]bool)
	}
	c.told[a] = true
	err := e.client.Announce(c.Token, pm.Endpoint{ID: e.addressID(c, a), Addr: a.Addr(), Port: a.Port()})
	if err != nil {
		e.refused(err)
		return
	}
	e.counters.Announced++
}

func (e *Engine) withdraw(c *conn, a netip.AddrPort) {
	if !c.told[a] {
		return
	}
	delete(c.told, a)
	if err := e.client.Remove(c.Token, c.ids[a]); err != nil {
		e.refused(err)
	}
	delete(c.ids, a)
}

// putWatches has eBPF look at connections.
func (e *Engine) putWatches() {
	watches := e.watches
	e.watches = nil
	if len(watches) == 0 {
		return
	}
	err := inside(e.o.NetNS, func() error { return e.o.Events.Watch(watches...) })
	// If not for all live subflows, this end has to count.
	e.polls = e.polls || err != nil
	for _, w := range watches {
		// The bytes may have come before eBPF looked, and no more of them.
		if c := e.conns[w.Token]; c != nil {
			c.wakes = append(c.wakes, e.o.now())
			e.schedule(c)
		}
	}
}
