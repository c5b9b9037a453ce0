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
	"github.com/tandem-gateway/tandem/redundant"
	"github.com/tandem-gateway/tandem/subscribers"
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
	counters   *listenerCounters
	opening    *opening              // nil from when the bytes are relayed
	streams    *[2]*redundant.Stream // what carries an end that is one of a socket pair; nil if none does
	choices    *choices              // nil if nobody chose an option
	ticket     policy.Ticket
	account    *subscribers.Account // nil: nobody's
	prev, next *session
	phase      phase
	early      uint16 // bytes of the client that went with the opening of the hop: fewer than openingBuffer
	number     uint32 // among those of the worker, see Server.id

	// What the record will tell.
	client, server           netip.AddrPort
	local                    *[2]netip.AddrPort // as Record.Local and Record.Also; nil if nobody wants to know
	names                    *naming            // nil if there are none
	hop                      string
	start                    time.Duration // since the worker began
	connected, halfClosed    time.Duration
	moments                  [numMoments]uint32 // microseconds since the start
	command                  Command
	served                   bool
	through                  bool // a converter or proxy, towards the server
	refused                  Reason
	clientMPTCP, serverMPTCP mptcp.Status // what was negotiated
	fellBack                 [2]bool      // ends that have lost it since
}

// naming is what a client called itself and the server.
type naming struct {
	user, host string
}

// name returns the names, which may be empty.
func (s *session) name() naming {
	if s.names == nil {
		return naming{}
	}
	return *s.names
}

// rename sets the names.
func (s *session) rename(n naming) {
	if n != s.name() {
		s.names = &n
	}
}

// The moments before a client is served: see Moments.
const (
	authorisingBegan = iota
	requestKnown
	resolvingBegan
	diallingBegan
	numMoments
)

// mark notes that a moment has come, the first time that it does. It is never
// 0, which would be never.
func (s *session) mark(moment int) {
	if at := &s.moments[moment]; *at == 0 {
		*at = uint32(max((s.worker.age()-s.start)/time.Microsecond, 1))
	}
}

func (s *session) moment(moment int) time.Duration {
	return time.Duration(s.moments[moment]) * time.Microsecond
}

// begin starts a session for a connection that was accepted on b for l, and
// counted as active.
func (w *worker) begin(fd int, remote netip.AddrPort, l *Listener, b *binding) {
	s := &session{worker: w, listener: l, client: remote, start: w.age()}
	s.pair.Ends[relay.Client].FD = fd
	s.pair.Ends[relay.Server].FD = -1
	s.clientMPTCP, s.pair.Ends[relay.Client].Plain = b.negotiated(fd)
	s.opening = w.lend(s)
	w.number++
	s.number = w.number
	s.counters = w.listeners.of(l.Name)
	s.counters.active.Add(1)
	s.counters.client[s.clientMPTCP.Reason].Add(1)
	w.link(s)
	if s.clientMPTCP.MPTCP {
		s.adopt(s.clientMPTCP, l.ClientPaths, false)
	}
	s.admit()
	if s.phase == closed {
		return
	}
	if err := w.watchClient(s); err != nil {
		s.reject(RefusedResources, err)
		return
	}
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
	s.serve()
	s.phase = relaying
	if s.account != nil {
		s.pair.Shape(s.account)
	}
	s.Moved(relay.Client, uint64(s.early))
	s.pair.Start(w.loop, w.pool, s, s.timeouts(), early, late)
	// The bytes are copied by now, and the pair may have ended already.
	s.settle()
}

// serve notes that the client has got what it asked for.
func (s *session) serve() {
	s.connected = s.worker.age() - s.start
	s.served, s.opening.counted = true, true
	s.counters.served.Add(1)
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
	s.Ending()
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
		if sources := a.Sources(); len(sources) > 0 {
			s.local = s.worker.lendLocal()
			copy(s.local[:], sources)
		}
		// The account has heard of each datagram.
		s.counters.traffic[relay.Client].Add(up)
		s.counters.traffic[relay.Server].Add(down)
	}
	s.finished(err, up, down)
}

// Moved implements relay.Owner.
func (s *session) Moved(end int, bytes uint64) {
	s.counters.traffic[end].Add(bytes)
	if s.account != nil {
		s.account.Moved(end, bytes, s.worker.loop.Now())
	}
}

// HalfClosed implements relay.Owner.
func (s *session) HalfClosed() {
	s.halfClosed = s.worker.age() - s.start
	s.countNetworks(false) // the peer may be about to close its subflows
}

// Ending implements relay.Owner: the end of subflows that this end closes is not
// the loss of them.
func (s *session) Ending() {
	s.countNetworks(true)
	s.noteFallbacks()
	s.forget(s.clientMPTCP, s.listener.ClientPaths)
	s.forget(s.serverMPTCP, s.listener.ServerPaths)
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
	s.release(relay.Client, err)
	s.release(relay.Server, err)
	s.ticket.Release()
	if s.account != nil {
		s.account.Release(w.loop.Now())
	}
	if r := w.server.opts.Recorder; r != nil {
		name := s.name()
		w.record = Record{
			Listener: s.listener.Name, Client: s.client, ClientMPTCP: s.spoke(relay.Client, s.clientMPTCP),
			User: name.user, Host: name.host, Server: s.server, Hop: s.hop, ServerMPTCP: s.spoke(relay.Server, s.serverMPTCP),
			Command: s.command, Served: s.served, Refused: s.refused,
			Start: w.began.Add(s.start), Duration: w.age() - s.start,
			Moments: Moments{
				Authorising: s.moment(authorisingBegan), Requested: s.moment(requestKnown),
				Resolving: s.moment(resolvingBegan), Dialling: s.moment(diallingBegan),
				Connected: s.connected, HalfClosed: s.halfClosed,
			},
			Up: up, Down: down, Err: err,
		}
		if s.local != nil {
			w.record.Local, w.record.Also = s.local[0], s.local[1]
		}
		if c := s.choices; c != nil {
			s.tell()
			if w.record.HopChoice = c.hop; !c.grants.Empty() {
				w.record.Options = &c.grants
			}
		}
		if c := w.carriages[s]; c != nil {
			w.record.Networks = c.byName
		}
		r.Record(&w.record)
	}
	w.takeLocal(s.local)
	s.local = nil
	delete(w.carriages, s)
	w.unlink(s)
}

// shutdownClient says that no more bytes will come.
func (s *session) shutdownClient() error {
	return unix.Shutdown(s.pair.Ends[relay.Client].FD, unix.SHUT_WR)
}
