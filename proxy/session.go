// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// phase is what a session is doing.
type phase uint8

const (
	greeting    phase = iota // hears what the client wants
	authorising              // waits for whether to serve the client
	awaiting                 // gives the client's first bytes a moment to arrive
	resolving                // waits for the addresses of a name
	dialling                 // connects, see dial
	outside                  // waits for the peer of BIND, or relays datagrams
	relaying                 // the pair is at work
	lingering                // has said its last word and lets the client read it
	closed
)

// session is one connection from accept to record. It runs on its worker's
// loop only. Thousands of them may be idle: what is not needed to relay, and
// to tell of it afterwards, is in the opening.
type session struct {
	pair       relay.Pair
	worker     *worker
	listener   *Listener
	opening    *opening // nil from when the bytes are relayed
	ticket     policy.Ticket
	prev, next *session
	phase      phase
	early      uint16 // bytes of the client that went with the opening of the hop: fewer than openingBuffer
	number     uint32 // among those of the worker, see Server.id

	// What the record will tell.
	client, server           netip.AddrPort
	user, host, hop          string
	start                    time.Duration // since the worker began
	connected                time.Duration
	clientMPTCP, serverMPTCP mptcp.Status
}

// begin starts a session for a connection that was accepted on b for l, and
// counted as active.
func (w *worker) begin(fd int, remote netip.AddrPort, l *Listener, b *binding) {
	s := &session{worker: w, listener: l, client: remote, start: w.age()}
	s.pair.Ends[relay.Client].FD = fd
	s.pair.Ends[relay.Server].FD = -1
	s.clientMPTCP = b.negotiated(fd)
	s.opening = w.lend(s)
	w.number++
	s.number = w.number
	w.link(s)
	if s.clientMPTCP.MPTCP {
		w.counters.ClientMPTCP.Add(1)
		s.adopt(s.clientMPTCP, l.ClientPaths, false)
	}
	s.admit()
	if s.phase == closed {
		return
	}
	if err := w.loop.Register(&s.pair.Ends[relay.Client], s); err != nil {
		s.reject(RefusedResources, err)
		return
	}
	w.nurse(s)
	s.opening.handshake = l.FrontEnd.Greet(&s.opening.client, w.loop.Now())
	s.greet()
}

// Ready implements event.Handler for both sockets.
func (s *session) Ready(sock *event.Socket) {
	client := &s.pair.Ends[relay.Client]
	switch s.phase {
	case relaying:
		s.pair.Ready(sock)
	case greeting:
		s.greet()
	case awaiting:
		s.await()
	case lingering:
		s.linger()
	case authorising, resolving, dialling, outside:
		switch {
		case s.opening.association != nil && client.Hangup:
			s.opening.task.cancel() // the session ends with the association
		case sock == client && client.Failed, s.phase == outside && client.Hangup:
			s.reject(RefusedGone, errGone)
		case s.phase == dialling && sock != client:
			s.opening.dial.converse()
		}
	}
}

// relay begins to relay: the client has been told. early are bytes of the
// client that the server has not got yet, late bytes of the server that came
// with the hop's answer.
func (s *session) relay(early, late []byte) {
	w := s.worker
	s.served()
	s.phase = relaying
	s.pair.Start(w.loop, w.pool, s, &s.listener.Timeouts.Relay, early, late)
	// The bytes are copied by now, and the pair may have ended already.
	s.settle()
}

// served notes that the client has got what it asked for.
func (s *session) served() {
	s.connected = s.worker.age() - s.start
	s.opening.counted = true
	s.worker.counters.Relayed.Add(1)
}

// settle gives back what was needed until now.
func (s *session) settle() {
	if o := s.opening; o != nil {
		s.opening = nil
		s.worker.takeBack(o)
	}
}

// reject ends a session that cannot be told anything.
func (s *session) reject(r Reason, err error) {
	s.opening.count(r, err)
	s.end(err, true)
}

// abort ends a session in whatever phase it is.
func (s *session) abort(err error) {
	switch s.phase {
	case closed:
	case relaying:
		s.pair.Abort(err)
	default:
		s.reject(reasonOf(err, RefusedGone), err)
	}
}

// end closes what a session that never reached the relay has.
func (s *session) end(err error, reset bool) {
	for i := range s.pair.Ends {
		sock := &s.pair.Ends[i]
		if reset && sock.FD >= 0 {
			mptcp.ResetOnClose(sock.FD)
		}
		s.worker.loop.Close(sock)
	}
	var up, down uint64
	if a := s.opening.association; a != nil {
		n := a.Counters()
		up, down = n.Up.Bytes, n.Down.Bytes
	}
	s.finished(err, up, down)
}

// Ended implements relay.Owner.
func (s *session) Ended(err error) {
	up, down := s.pair.Moved()
	s.finished(err, up+uint64(s.early), down)
}

// finished gives everything back and writes the record.
func (s *session) finished(err error, up, down uint64) {
	s.phase = closed
	w := s.worker
	s.settle()
	s.ticket.Release()
	s.forget(s.clientMPTCP, s.listener.ClientPaths)
	s.forget(s.serverMPTCP, s.listener.ServerPaths)
	w.counters.Up.Add(up)
	w.counters.Down.Add(down)
	if r := w.server.opts.Recorder; r != nil {
		w.record = Record{
			Listener: s.listener.Name, Client: s.client, ClientMPTCP: s.clientMPTCP,
			User: s.user, Host: s.host, Server: s.server, Hop: s.hop, ServerMPTCP: s.serverMPTCP,
			Start: w.began.Add(s.start), Connected: s.connected, Duration: w.age() - s.start,
			Up: up, Down: down, Err: err,
		}
		r.Record(&w.record)
	}
	w.unlink(s)
}

// shutdownClient says that no more bytes will come.
func (s *session) shutdownClient() error {
	return unix.Shutdown(s.pair.Ends[relay.Client].FD, unix.SHUT_WR)
}
