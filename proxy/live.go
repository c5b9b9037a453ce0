// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/subscribers"
)

// ErrKicked ends a connection that the operator does not want.
var ErrKicked = errors.New("ended by the operator")

// liveBatch bounds the sessions that are looked at in one round of a loop: some
// 0.2 ms with the system calls for their MPTCP state.
const liveBatch = 64

// Live is a connection that has not ended, as it was a moment ago.
type Live struct {
	ID          uint64 // as long as the process lives, and its successors
	Phase       string // what it waits for or does: one of Phases
	Listener    string
	Client      netip.AddrPort
	ClientMPTCP mptcp.Status // now
	User        string
	Account     *subscribers.Account // of the subscriber; nil if it is nobody's
	Host        string               // the name that was asked for, if one was
	Server      netip.AddrPort       // the address connected to, or asked of the hop; invalid if not known yet
	Hop         string               // empty if not known yet
	ServerMPTCP mptcp.Status         // now
	Start       time.Time
	Age         time.Duration
	Connected   time.Duration // from Start until the client was served; 0 = not yet
	Relaying    bool
	Idle        time.Duration // since the last byte, if it is relayed
	Up, Down    uint64        // bytes delivered to the server and to the client

	Options   *options.Grants // nil if nobody chose any
	HopChoice *HopChoice      // nil if nothing was asked of the hop
}

var phaseNames = [...]string{
	greeting: "handshake", authorising: "authentication", awaiting: "first-data", resolving: "resolving",
	dialling: "connecting", outside: "bind", relaying: "relaying", lingering: "closing", closed: "closed",
}

// walk is a way through the sessions of a worker that other events may
// interrupt. It sees each session that is there all the time once.
type walk struct{ next *session }

// leaves is called before a session is taken off the list.
func (k *walk) leaves(s *session) {
	if k.next == s {
		k.next = s.next
	}
}

// Live walks through the connections, the youngest first on each loop. What
// it yields is valid until the next. No loop is held for more than a few of
// them at a time; connections that begin or end meanwhile may be left out.
func (s *Server) Live() iter.Seq[*Live] {
	return func(yield func(*Live) bool) {
		batch := make([]Live, 0, liveBatch)
		for i := range s.workers {
			for range s.walk(i, func(x *session) { batch = append(batch, x.live(s.id(i, x.number))) }) {
				for j := range batch {
					if !yield(&batch[j]) {
						return
					}
				}
				batch = batch[:0]
			}
		}
	}
}

// Kick ends a connection with a reset on both legs. It reports whether there
// was one.
func (s *Server) Kick(id uint64) bool {
	number, i := id/uint64(len(s.workers)), int(id%uint64(len(s.workers)))
	found := false
	for range s.walk(i, func(x *session) {
		if uint64(x.number) == number {
			x.abort(ErrKicked)
			found = true
		}
	}) {
		if found {
			break
		}
	}
	return found
}

// Alive returns an error unless every event loop answers before ctx ends.
func (s *Server) Alive(ctx context.Context) error {
	answers := make(chan struct{}, len(s.workers))
	for i, w := range s.workers {
		if err := w.loop.Post(func() { answers <- struct{}{} }); err != nil {
			return fmt.Errorf("worker %d: %w", i, err)
		}
	}
	for range s.workers {
		select {
		case <-answers:
		case <-ctx.Done():
			return fmt.Errorf("an event loop does not answer: %w", ctx.Err())
		}
	}
	return nil
}

// id makes the numbers of sessions unique over all workers. They begin again
// after 2^32 connections of a worker.
func (s *Server) id(worker int, number uint32) uint64 {
	return uint64(number)*uint64(len(s.workers)) + uint64(worker)
}

// idRoom is how many connections of a loop there is room for between the IDs of a
// process and those of its successor, which it gets while it still accepts.
const idRoom = 1 << 20

// FreeID is for Options.FirstID of another server: no connection here has such an
// ID or a higher one, nor gets one before a million have come to one of the loops.
func (s *Server) FreeID() uint64 {
	var last uint32
	for i := range s.workers {
		s.on(i, func(w *worker) { last = max(last, w.number) })
	}
	return (uint64(last) + idRoom) * uint64(len(s.workers))
}

// firstNumber is a number of sessions of a worker that makes IDs of first or more.
func firstNumber(first uint64, workers int) uint32 {
	n := uint64(workers)
	return uint32((first + n - 1) / n)
}

// on runs f on a loop and waits for it. It reports false if the loop has ended.
func (s *Server) on(worker int, f func(*worker)) bool {
	w, done := s.workers[worker], make(chan struct{})
	if w.loop.Post(func() { f(w); close(done) }) != nil {
		return false
	}
	<-done
	return true
}

// walk goes through the sessions of a worker. visit runs on its loop; after
// each batch whoever walks gets a turn, on a goroutine of its own.
func (s *Server) walk(i int, visit func(*session)) func(yield func() bool) {
	return func(yield func() bool) {
		k := new(walk)
		more := s.on(i, func(w *worker) {
			k.next = w.sessions
			w.walks = append(w.walks, k)
		})
		defer s.on(i, func(w *worker) {
			w.walks = slices.DeleteFunc(w.walks, func(other *walk) bool { return other == k })
		})
		batch := func(*worker) {
			for range liveBatch {
				if k.next == nil {
					break
				}
				x := k.next
				k.next = x.next
				visit(x)
			}
			more = k.next != nil
		}
		for more && s.on(i, batch) && yield() {
		}
	}
}

// live is the session as it is now.
func (s *session) live(id uint64) Live {
	w := s.worker
	name := s.name()
	l := Live{
		ID: id, Phase: phaseNames[s.phase], Listener: s.listener.Name,
		Client: s.client, User: name.user, Account: s.account, Host: name.host, Server: s.server, Hop: s.hop,
		Start: w.began.Add(s.start), Age: w.age() - s.start, Connected: s.connected,
	}
	if c := s.choices; c != nil {
		if l.HopChoice = c.hop.clone(); !c.grants.Empty() {
			l.Options = c.grants.Clone()
		}
	}
	l.ClientMPTCP = refreshed(s.clientMPTCP, s.pair.Ends[relay.Client].FD)
	l.ServerMPTCP = refreshed(s.serverMPTCP, s.pair.Ends[relay.Server].FD)
	switch {
	case s.phase == relaying:
		l.Up, l.Down = s.pair.Moved()
		l.Up += uint64(s.early)
		l.Relaying, l.Idle = true, s.pair.Idle()
	case s.opening != nil && s.opening.association != nil:
		n := s.opening.association.Counters()
		l.Phase, l.Up, l.Down = "udp", n.Up.Bytes, n.Down.Bytes
	}
	return l
}

// refreshed is what a leg speaks now; if it has been closed, what it spoke.
func refreshed(s mptcp.Status, fd int) mptcp.Status {
	if now, err := s.Refresh(fd); err == nil {
		return now
	}
	return s
}
