// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

const (
	// acceptBatch bounds the connections accepted in one round, so that a
	// flood of new ones does not starve those that are relayed.
	acceptBatch = 64
	// acceptPause is how long accepting rests when descriptors have run out.
	acceptPause = 100 * time.Millisecond
	// openingBuffer holds what a client or hop says before the relay: larger
	// than the longest message (RFC 8803: 1,020 bytes) and what fits a SYN.
	openingBuffer = 2048
	// maxFree bounds the free openings, their buffers and the free addresses a
	// worker keeps.
	maxFree = 256
	// maxRefusing bounds the sessions of a worker that exist only to be told
	// that they are refused: limits would limit nothing else.
	maxRefusing = 64
)

// worker is one event loop with its sessions.
type worker struct {
	server    *Server
	loop      *event.Loop
	began     time.Time
	pool      *relay.Pool
	active    atomic.Int64 // sessions, and those to come from other workers
	pauses    atomic.Uint64
	listeners named[listenerCounters]
	hops      named[hopCounters]
	networks  named[networkCounters]
	carriages map[*session]*carriage // of sessions, if access networks are told apart
	buffers   [][]byte
	openings  []*opening
	locals    []*[2]netip.AddrPort // zero, see session.local
	record    Record               // of the session that is ending
	sessions  *session             // head of the list of all
	tokens    map[uint32]*session  // of clients that use MPTCP, and of servers that were asked in TCP options
	number    uint32               // of the last session
	walks     []*walk              // that are half-way through the list
	refusing  int                  // sessions that are refused and have not ended yet
	accepts   map[*binding]*acceptor
	starving  bool        // does not accept for want of descriptors
	resume    event.Timer // ends that
	embryos   map[*session]*embryo
	hatching  event.Timer // looks at those
	draining  bool
	idle      func()        // says that the last session has ended
	drained   chan struct{} // closed by it
}

func newWorker(s *Server) (*worker, error) {
	loop, err := event.NewLoop()
	if err != nil {
		return nil, err
	}
	w := &worker{server: s, loop: loop, began: loop.Now(), pool: relay.NewPool(), accepts: map[*binding]*acceptor{}, carriages: map[*session]*carriage{}, tokens: map[uint32]*session{}, drained: make(chan struct{})}
	w.number = firstNumber(s.opts.FirstID, s.opts.Workers)
	w.resume.Func = w.accepting
	w.hatching.Func = w.hatch
	w.idle = sync.OnceFunc(func() { close(w.drained) })
	return w, nil
}

// run serves events until the server stops.
func (w *worker) run() {
	if err := w.loop.Run(w.server.ctx); err != nil {
		w.server.log.Error("an event loop has failed; its connections are lost", "err", err)
	}
	w.abortAll(ErrShutdown)
	w.pool.Close()
	w.idle()
}

// age is the time since the worker began, with its loop.
func (w *worker) age() time.Duration { return w.loop.Age() }

// buffer lends an empty buffer for the opening of a connection.
func (w *worker) buffer() []byte {
	if n := len(w.buffers); n > 0 {
		b := w.buffers[n-1]
		w.buffers = w.buffers[:n-1]
		return b
	}
	return make([]byte, 0, openingBuffer)
}

func (w *worker) giveBack(b []byte) {
	if cap(b) == openingBuffer && len(w.buffers) < maxFree {
		w.buffers = append(w.buffers, b[:0])
	}
}

// lendLocal lends room for the addresses that a server sees.
func (w *worker) lendLocal() *[2]netip.AddrPort {
	n := len(w.locals)
	if n == 0 {
		return new([2]netip.AddrPort)
	}
	local := w.locals[n-1]
	w.locals = w.locals[:n-1]
	return local
}

func (w *worker) takeLocal(local *[2]netip.AddrPort) {
	if local != nil && len(w.locals) < maxFree {
		*local = [2]netip.AddrPort{}
		w.locals = append(w.locals, local)
	}
}

// lend gives a session what it needs until it is relayed.
func (w *worker) lend(s *session) *opening {
	var o *opening
	if n := len(w.openings); n > 0 {
		o = w.openings[n-1]
		w.openings = w.openings[:n-1]
	} else {
		o = new(opening)
		o.timer.Func = o.expired
	}
	o.s, o.dial.s = s, s
	o.client = Client{Remote: s.client, FD: s.pair.Ends[relay.Client].FD, MPTCP: s.clientMPTCP}
	return o
}

// takeBack takes an opening back with all that it holds.
func (w *worker) takeBack(o *opening) {
	if h, ok := o.handshake.(releaser); ok && o.task == nil {
		h.release()
	}
	o.stop()
	w.loop.Disarm(&o.timer)
	w.giveBack(o.in)
	w.giveBack(o.dial.answer)
	if o.refusal != nil {
		w.refusing--
	}
	*o = opening{timer: o.timer}
	if len(w.openings) < maxFree {
		w.openings = append(w.openings, o)
	}
}

// link adds s to the list of sessions.
func (w *worker) link(s *session) {
	s.next = w.sessions
	if s.next != nil {
		s.next.prev = s
	}
	w.sessions = s
	if s.clientMPTCP.MPTCP {
		w.tokens[s.clientMPTCP.Token] = s
	}
}

func (w *worker) unlink(s *session) {
	for _, m := range []*mptcp.Status{&s.clientMPTCP, &s.serverMPTCP} {
		if m.MPTCP && w.tokens[m.Token] == s {
			delete(w.tokens, m.Token)
		}
	}
	for _, k := range w.walks {
		k.leaves(s)
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		w.sessions = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	s.counters.active.Add(-1)
	w.active.Add(-1)
	if w.draining && w.sessions == nil {
		w.idle()
	}
}

// drain makes the end of the last session known.
func (w *worker) drain() {
	w.draining = true
	if w.sessions == nil {
		w.idle()
	}
}

// abortAll ends every session at once.
func (w *worker) abortAll(err error) {
	for w.sessions != nil {
		w.sessions.abort(err)
	}
}

// refuse counts a refusal and tells of it in the log.
func (w *worker) refuse(l *Listener, client netip.AddrPort, r Reason, err error) {
	w.listeners.of(l.Name).refused[r].Add(1)
	if log := w.server.log; log.Enabled(w.server.ctx, slog.LevelDebug) {
		log.LogAttrs(w.server.ctx, slog.LevelDebug, "refused", slog.String("listener", l.Name),
			slog.Any("client", client), slog.String("reason", r.String()), slog.Any("err", err))
	}
}
