// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

// repair makes what is known of connections what the kernel says. Events that
// were on their way meanwhile tell nothing new then.
func (e *Engine) repair(now time.Time) {
	if !e.gap {
		return
	}
	sockets, err := e.diag.All()
	if err != nil {
		e.log.Error("cannot ask the kernel for subflows", "err", err)
		e.gap = true
		e.repairAt = now.Add(time.Second)
		return
	}
	e.gap = false
	e.counters.Repairs++
	of := make(map[uint32][]sockdiag.Subflow)
	for _, s := range sockets {
		if s.State == mptcp.StateEstablished || s.State == mptcp.StateSynSent {
			of[s.Token] = append(of[s.Token], s)
		}
	}
	for token, c := range e.conns {
		e.repairOne(c, of[token], now)
	}
}

// know has the kernel asked for the connections that were adopted a while ago,
// and of which no event has told: they may be older than the programs.
func (e *Engine) know(now time.Time) {
	e.knowAt = time.Time{}
	if slices.ContainsFunc(e.unknown, func(token uint32) bool { c := e.conns[token]; return c != nil && !c.known() }) {
		e.gap = true
		e.repairAt = e.soon(e.repairAt, e.lastRepair, repairEvery)
	}
	e.unknown, e.recent = e.recent, e.unknown[:0]
	if len(e.unknown) > 0 {
		e.knowAt = now.Add(knowWithin)
	}
}

// repairOne does so for one connection.
func (e *Engine) repairOne(c *conn, sockets []sockdiag.Subflow, now time.Time) {
	if !c.adopted && len(sockets) == 0 {
		e.forget(c.Token)
		return
	}
	for _, s := range sockets {
		c.fully = c.fully || s.Fully
		if s.First && !c.known() {
			c.First = Path{s.Local.Addr(), s.Remote}
		}
	}
	if !c.known() && len(sockets) > 0 {
		c.First = Path{sockets[0].Local.Addr(), sockets[0].Remote}
	}
	e.addMissing(c, sockets, now)
	e.dropVanished(c, sockets, now)
	e.dropStalled(c, sockets, now)
	c.count(now, Vanished)
	e.start(c, now)
	e.schedule(c)
}

// addMissing takes up established subflows that no event told of.
func (e *Engine) addMissing(c *conn, sockets []sockdiag.Subflow, now time.Time) {
	for _, k := range sockets {
		if k.State != mptcp.StateEstablished {
			continue
		}
		if i := find(c.Subflows, k.Local, k.Remote); i >= 0 {
			c.Subflows[i].see(k)
			continue
		}
		if find(c.closing, k.Local, k.Remote) >= 0 {
			continue
		}
		e.counters.Repaired++
		s := &seen{
			token: k.Token, local: k.Local, remote: k.Remote, localID: k.LocalID, remoteID: k.RemoteID, backup: k.Backup,
			passive: !k.Active, rtt: k.RTT, sent: k.Sent, acked: k.Acked, received: k.Received,
		}
		if k.First {
			e.begun(s, now)
		} else {
			e.joined(s, now)
		}
	}
}

// dropVanished ends subflows whose end no event told, and attempts that take
// too long.
func (e *Engine) dropVanished(c *conn, sockets []sockdiag.Subflow, now time.Time) {
	alive := func(s Subflow) bool {
		return slices.ContainsFunc(sockets, func(k sockdiag.Subflow) bool { return k.Local == s.local() && k.Remote == s.Remote })
	}
	for i := len(c.closing) - 1; i >= 0; i-- {
		switch s := c.closing[i]; {
		case s.Port != 0 && !alive(s):
			e.closed(c, i, now)
		case s.Port == 0 && connecting(sockets, s.Path) < 0 && now.Sub(s.Since) > repairEvery:
			c.closing = slices.Delete(c.closing, i, i+1)
		}
	}
	// Managers change the list when they are told.
	for _, s := range slices.Clone(c.Subflows) {
		i := c.byHandle(s.handle)
		switch {
		case i < 0:
		case s.State == Established && alive(s):
			c.Subflows[i].missed = time.Time{}
		case s.State == Established:
			c.Subflows[i].miss(now)
		case s.State == Opening:
			e.checkOpening(c, i, sockets, now)
		}
	}
}

// miss notes that the kernel does not have a subflow any more. The event about
// its end may still be on its way, netlink's comes after the socket has gone,
// and knows more: it is waited for.
func (s *Subflow) miss(now time.Time) {
	if s.missed.IsZero() {
		s.missed = now
	}
}

// vanished ends the subflows that are missed for too long.
func (e *Engine) vanished(c *conn, now time.Time) {
	for _, s := range slices.Clone(c.Subflows) {
		i := c.byHandle(s.handle)
		if i < 0 || s.missed.IsZero() || now.Before(s.missed.Add(tellWithin)) {
			continue
		}
		e.counters.Repaired++
		if s.State == Established {
			e.lose(c, i, Vanished, 0, now)
		} else {
			e.notOpened(c, i, Vanished, 0, now)
		}
	}
}

// checkOpening finds the socket of an attempt. One without, or one that has
// taken too long, is over.
func (e *Engine) checkOpening(c *conn, i int, sockets []sockdiag.Subflow, now time.Time) {
	s := c.Subflows[i]
	k := connecting(sockets, s.Path)
	switch {
	case k < 0:
		// The kernel may have just been told to open it, or it stands by now.
		if s.overdue || now.Sub(s.Since) > repairEvery {
			c.Subflows[i].miss(now)
		}
	case s.overdue:
		// The event about its end finds nothing any more.
		local := sockets[k].Local
		sockets[k].State = mptcp.StateClose
		s.Port = local.Port()
		e.destroy(c, s)
		e.notOpened(c, i, NotAnswered, 0, now)
	}
}

// connecting returns the index of a socket that is being connected on a path,
// or -1.
func connecting(sockets []sockdiag.Subflow, p Path) int {
	return slices.IndexFunc(sockets, func(k sockdiag.Subflow) bool {
		return k.State == mptcp.StateSynSent && k.Local.Addr() == p.Local && k.Remote == p.Remote
	})
}

// dropStalled closes subflows on which the peer has acknowledged nothing for
// long, though there is something to, so that they are opened anew. TCP would
// go on for a quarter of an hour. The last one that works, or may, stays. Those
// that the peer opens anew are closed only to make room for others.
func (e *Engine) dropStalled(c *conn, sockets []sockdiag.Subflow, now time.Time) {
	full := c.adopted && len(c.Subflows) >= c.policy.MaxSubflows
	if !c.started || c.over || !c.opens() && !full {
		return
	}
	stalled := func(s Subflow) bool {
		return slices.ContainsFunc(sockets, func(k sockdiag.Subflow) bool {
			return k.Local == s.local() && k.Remote == s.Remote && k.Unacked > 0 && k.LastAck >= e.o.StallAfter
		})
	}
	works := func(s Subflow) bool { return s.State == Established && !stalled(s) }
	if !slices.ContainsFunc(c.Subflows, works) {
		return
	}
	for _, s := range slices.Clone(c.Subflows) {
		if i := c.byHandle(s.handle); i >= 0 && s.State == Established && stalled(s) {
			e.destroy(c, s)
			e.lose(c, i, TimedOut, unix.ETIMEDOUT, now)
		}
	}
}
