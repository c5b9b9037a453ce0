// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp/pm"
	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

// eventBatch is how many events of eBPF are taken before other things get their
// turn.
const eventBatch = 1024

// readBPF hands events to the loop, many at once: to hand over each would cost
// more than to take it. While the loop is busy the ring keeps them.
func (e *Engine) readBPF(ctx context.Context) {
	filled, other := make([]bpf.Event, eventBatch), make([]bpf.Event, eventBatch)
	for {
		n, err := e.o.Events.ReadAll(filled)
		select {
		case e.fromBPF <- filled[:n]:
		case <-e.done:
			return
		}
		if err != nil {
			if ctx.Err() == nil {
				e.log.Error("no more eBPF events", "err", err)
			}
			return
		}
		// The loop is done with the other one: it has taken this one.
		filled, other = other, filled
	}
}

// coalesce is how long an event of netlink may wait for others, if it comes
// right after one that was waited for, and a call to the engine. To be woken for
// each costs more than to take it. Calls that lead to nothing wait longer, unless
// an event comes before.
const (
	coalesce     = time.Millisecond
	coalesceIdle = 50 * time.Millisecond
)

func (e *Engine) readPM(ctx context.Context) {
	for {
		begin := time.Now()
		ev, err := e.events.Next(ctx)
		waited := time.Since(begin) > coalesce/10
		if err != nil {
			if ctx.Err() == nil {
				e.log.Error("no more events of path managers", "err", err)
			}
			return
		}
		select {
		case e.fromPM <- ev:
		case <-e.done:
			return
		}
		if waited {
			time.Sleep(coalesce)
		}
	}
}

func (e *Engine) readNetwork(ctx context.Context) {
	for {
		if err := e.net.await(); err != nil {
			if ctx.Err() == nil {
				e.log.Error("no more events of addresses and links", "err", err)
			}
			return
		}
		select {
		case e.changed <- struct{}{}:
		default:
		}
	}
}

// listen leaves out what eBPF tells, or nobody wants to know. Without it there
// would only be more to read.
func (e *Engine) listen(kinds ...pm.Event) {
	if err := e.events.Only(kinds...); err != nil {
		e.log.Warn("events of path managers are not filtered", "err", err)
	}
}

// listenToAll is for the first connection for which this end opens subflows.
func (e *Engine) listenToAll() {
	if e.listens || e.o.Events == nil {
		return
	}
	e.listens = true
	e.listen(pm.Established{}, pm.Announced{}, pm.Removed{}, pm.SubflowPriority{})
	// It may be one that events told of before. What is known of it has to be
	// right before it can lose a subflow.
	e.gap = true
	e.repair(e.o.now())
}

// seen is what an event tells of a subflow.
type seen struct {
	token         uint32
	local, remote netip.AddrPort
	id            uint32
	localID       uint8
	remoteID      uint8
	backup        bool
	passive       bool // opened by the peer
	either        bool // the event does not tell by whom
	rtt           time.Duration
	sent          uint64
	acked         uint64
	received      uint64
}

func (s *seen) path() Path { return Path{s.local.Addr(), s.remote} }

// on writes what was seen to a subflow.
func (s *seen) on(f *Subflow) {
	f.Path, f.Port, f.ID, f.LocalID, f.RemoteID = s.path(), s.local.Port(), s.id, s.localID, s.remoteID
	s.figures(f)
}

func (s *seen) figures(f *Subflow) {
	if s.sent|s.received|s.acked != 0 {
		f.RTT, f.Sent, f.Acked, f.Received = s.rtt, s.sent, s.acked, s.received
	}
}

// see writes what sock_diag says to a subflow.
func (s *Subflow) see(k sockdiag.Subflow) {
	s.RTT, s.Sent, s.Acked, s.Received, s.device = k.RTT, k.Sent, k.Acked, k.Received, k.Interface
	s.Backup, s.LocalID, s.RemoteID = k.Backup && !s.resting, k.LocalID, k.RemoteID
}

// kernelEvent takes an event of the eBPF programs.
func (e *Engine) kernelEvent(ev *bpf.Event, now time.Time) {
	switch ev.Kind {
	case bpf.Gap:
		e.lostEvents(ev.Lost)
	case bpf.Established:
		s := seenBy(ev)
		if _, ends := e.ending[ev.Token]; ends && e.conns[ev.Token] == nil {
			e.passed(&s, now)
			return
		}
		e.begun(&s, now)
	case bpf.Joined:
		s := seenBy(ev)
		e.joined(&s, now)
	case bpf.JoinFailed:
		s := seenBy(ev)
		e.failed(&s, causeOf(ev.Reason), ev.Error, now)
	case bpf.SubflowClosed:
		s := seenBy(ev)
		e.ended(&s, causeOf(ev.Reason), ev.Error, now)
	case bpf.BytesReached:
		if c := e.conns[ev.Token]; c != nil && c.watch > 0 {
			c.Bytes, c.watch = max(c.Bytes, c.watch), 0
			e.due(c, now)
			e.schedule(c)
		}
	case bpf.Closed:
		e.forget(ev.Token)
	}
}

// seenBy is what an event of the eBPF programs tells of a subflow.
func seenBy(ev *bpf.Event) seen {
	return seen{
		token: ev.Token, local: ev.Local, remote: ev.Remote, id: ev.Subflow, localID: uint8(max(ev.LocalID, 0)),
		remoteID: ev.RemoteID, backup: ev.Backup, passive: ev.Passive, rtt: ev.SRTT,
		sent: ev.BytesSent, acked: ev.BytesAcked, received: ev.BytesReceived,
	}
}

func causeOf(r bpf.Reason) Cause {
	switch r {
	case bpf.FIN:
		return ClosedByPeer
	case bpf.ResetReceived:
		return ResetReceived
	case bpf.Timeout:
		return TimedOut
	}
	return ResetSent
}

// netlinkEvent takes an event of the path manager family. Where there is eBPF
// it is the source for all that both tell.
func (e *Engine) netlinkEvent(ev pm.Event, now time.Time) {
	e.counters.Events++
	only := e.o.Events == nil
	switch ev := ev.(type) {
	case pm.Gap:
		e.lostEvents(0)
	case pm.Established:
		c := e.conn(ev.Token, now)
		c.fully, c.denies0 = true, ev.DenyJoinID0
		if only {
			e.begun(&seen{token: ev.Token, local: ev.Local, remote: ev.Remote, passive: ev.ServerSide}, now)
		}
		e.start(c, now)
		e.schedule(c)
	case pm.Announced:
		c := e.conn(ev.Token, now)
		c.announced(Remote{ev.ID, ev.Addr})
		e.notify(Notice{Time: now, Kind: NoticeAnnounced, Token: ev.Token, Remote: ev.Addr})
		e.pathsChanged(c, now)
	case pm.Removed:
		if c := e.conns[ev.Token]; c != nil {
			c.removed(ev.ID)
			e.notify(Notice{Time: now, Kind: NoticeRemoved, Token: ev.Token})
			e.pathsChanged(c, now)
		}
	case pm.SubflowPriority:
		if c := e.conns[ev.Token]; c != nil {
			if i := find(c.Subflows, ev.Local, ev.Remote); i >= 0 {
				c.Subflows[i].Backup = ev.Backup
				e.notice(NoticePriority, c.Token, &c.Subflows[i], now)
			}
		}
	}
	if only {
		e.netlinkSubflow(ev, now)
	}
}

// netlinkSubflow takes what eBPF would tell better.
func (e *Engine) netlinkSubflow(ev pm.Event, now time.Time) {
	of := func(p pm.Path) *seen {
		return &seen{token: p.Token, local: p.Local, remote: p.Remote, localID: p.LocalID, remoteID: p.RemoteID, backup: p.Backup, either: true}
	}
	switch ev := ev.(type) {
	case pm.Created:
		e.begun(&seen{token: ev.Token, local: ev.Local, remote: ev.Remote, passive: ev.ServerSide}, now)
	case pm.SubflowEstablished:
		e.joined(of(ev.Path), now)
	case pm.SubflowClosed:
		c, s := e.conns[ev.Token], of(ev.Path)
		if c != nil && find(c.Subflows, s.local, s.remote) < 0 && find(c.closing, s.local, s.remote) < 0 {
			// It was never established, or the event has no address: seen with Linux 6.6.
			if !s.local.Addr().IsValid() || s.local.Addr().IsUnspecified() {
				e.lostEvents(0)
				return
			}
			e.failed(s, causeOfErrno(ev.Err), ev.Err, now)
			return
		}
		e.ended(s, causeOfErrno(ev.Err), ev.Err, now)
	case pm.Closed:
		e.forget(ev.Token)
	}
}

func causeOfErrno(err unix.Errno) Cause {
	switch err {
	case 0:
		return ClosedByPeer
	case unix.ECONNRESET, unix.ECONNREFUSED, unix.EPIPE:
		return ResetReceived
	case unix.ECONNABORTED:
		return ResetSent
	}
	return TimedOut
}

// lostEvents has the state of all connections asked of the kernel again.
func (e *Engine) lostEvents(n uint64) {
	e.counters.Gaps++
	e.counters.LostEvents += n
	e.gap = true
	e.repairAt = e.soon(e.repairAt, e.lastRepair, repairEvery)
}
