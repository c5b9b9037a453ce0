// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// lingerTime is how long a client may take to read a refusal, and one that is
// refused from the start to come to the point.
const lingerTime = 2 * time.Second

var (
	errHandshakeTimeout = errors.New("handshake took too long")
	errHandshakeTooLong = fmt.Errorf("handshake is longer than %d bytes", openingBuffer)
	errNotMPTCP         = errors.New("client did not negotiate MPTCP and this listener requires it")
	errReplyBlocked     = errors.New("client does not read the handshake")
	errSource           = errors.New("source address is not allowed")
	errGone             = errors.New("client left before it was served")
)

// opening is what a session needs until its bytes are relayed: the
// conversation with the client and the way to the server.
type opening struct {
	s           *session
	client      Client
	handshake   Handshake
	request     *Request
	in          []byte // received from the client and not consumed
	timer       event.Timer
	until       time.Time // when the server must be connected; zero: any time
	refusal     error     // decided on accept, told once the client can understand it
	err         error     // what the client was told
	counted     bool      // among those served or refused
	dial        dial
	task        *task // the goroutine at work
	association *socks.Association
}

// count counts the session as refused, once, for the first reason given.
func (o *opening) count(r Reason, err error) {
	if !o.counted {
		o.counted = true
		o.s.refused = r
		o.s.worker.refuse(o.s.listener, o.s.client, r, err)
	}
}

// admit decides on the client as such. One that is refused is still heard, for
// it would not understand an answer that comes before its request; there is
// room for a few of those only, and they have little time.
func (s *session) admit() {
	o, w, l := s.opening, s.worker, s.listener
	if l.Require && !s.clientMPTCP.MPTCP {
		o.refusal = errNotMPTCP
	} else if lim := w.server.limits.Load(); lim != nil {
		s.ticket, o.refusal = lim.Admit(s.client.Addr(), w.loop.Now())
	}
	if o.refusal == nil {
		s.deadline(l.Timeouts.Handshake)
		return
	}
	o.count(reasonOf(o.refusal, RefusedResources), o.refusal)
	if w.refusing++; w.refusing > maxRefusing {
		s.end(o.refusal, true)
		return
	}
	s.deadline(lingerTime)
}

// deadline arms the timer of the present phase.
func (s *session) deadline(d time.Duration) {
	loop, t := s.worker.loop, &s.opening.timer
	if d <= 0 {
		loop.Disarm(t)
		return
	}
	loop.Arm(t, loop.Now().Add(d))
}

// late reports whether the time to connect to the server is over.
func (o *opening) late() bool {
	return !o.until.IsZero() && !o.s.worker.loop.Now().Before(o.until)
}

// greet takes the handshake as far as the bytes that have arrived allow.
func (s *session) greet() {
	for s.phase == greeting {
		o := s.opening
		step, err := o.handshake.Next(o.in)
		o.in = o.in[:copy(o.in, o.in[step.Consumed:])]
		if len(step.Send) > 0 && !s.say(step.Send) {
			return
		}
		switch {
		case step.Request != nil:
			s.asked(step.Request)
			return
		case errors.Is(err, ErrMore):
			if !s.readClient() {
				return
			}
		case errors.Is(err, ErrWait):
			s.authorise(o.handshake.(Waiter))
		case err != nil:
			o.count(reasonOf(err, RefusedHandshake), err)
			o.err = err
			s.farewell(len(step.Send) > 0)
			return
		}
	}
}

// authorise lets a handshake find out, outside of the loop, whether to serve the
// client. The deadline of the handshake stays in force.
func (s *session) authorise(h Waiter) {
	s.phase = authorising
	s.mark(authorisingBegan)
	s.spawn(func(ctx context.Context, post func(func(wanted bool))) {
		h.Wait(ctx)
		post(func(wanted bool) {
			if wanted {
				s.opening.task, s.phase = nil, greeting
				s.greet()
			}
		})
	})
}

// readClient reads once and reports whether something new is there. It may
// have ended the session.
func (s *session) readClient() bool {
	o, sock := s.opening, &s.pair.Ends[relay.Client]
	if !sock.Readable {
		return false
	}
	if o.in == nil {
		o.in = s.worker.buffer()
	}
	if len(o.in) == cap(o.in) {
		s.reject(RefusedHandshake, errHandshakeTooLong)
		return false
	}
	n, err := relay.Read(sock, o.in[len(o.in):cap(o.in)])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false
	case err != nil:
		s.reject(RefusedHandshake, fmt.Errorf("read from client: %w", err))
		return false
	case n == 0 && s.phase == greeting && o.request == nil && len(o.in) == 0 && admitted(o.handshake):
		s.command = Inform
		s.serve()
		s.end(nil, false)
		return false
	case n == 0 && s.phase == greeting && o.request == nil:
		s.reject(RefusedHandshake, fmt.Errorf("read from client: %w", io.ErrUnexpectedEOF))
		return false
	case n == 0:
		// The client has finished sending; the relay will find that again.
		sock.Hangup = true
		return false
	}
	o.in = o.in[:len(o.in)+n]
	return true
}

// say sends handshake bytes to the client. They are few: a client whose
// receive window has no room for them is not served.
func (s *session) say(b []byte) bool {
	if e := s.worker.embryos[s]; e != nil {
		e.unsaid = append(e.unsaid, b...)
		return true
	}
	n, err := relay.Write(&s.pair.Ends[relay.Client], b)
	if n == len(b) {
		return true
	}
	if errors.Is(err, unix.EAGAIN) {
		err = errReplyBlocked
	}
	s.reject(RefusedHandshake, fmt.Errorf("write to client: %w", err))
	return false
}

// reply tells the client how its request went. It reports whether there was
// something to say; the session may have ended over it.
func (s *session) reply(out Outcome) bool {
	b := s.opening.handshake.Reply(s.worker.pool.Scratch()[:0], out)
	return len(b) > 0 && s.say(b)
}

// asked is called once the client's request is known.
func (s *session) asked(r *Request) {
	o := s.opening
	o.request = r
	s.mark(requestKnown)
	s.rename(naming{r.User, r.Host})
	s.command = r.Command
	if r.Command != Associate { // whose address is the client's own
		s.server = r.Target
	}
	s.ticket.Established()
	if s.belong(r) {
		s.proceed(r)
	}
}

// proceed goes on with a request once it is known whose it is.
func (s *session) proceed(r *Request) {
	o := s.opening
	if o.refusal == nil && r.Command == Connect {
		s.choose(r)
	}
	if o.refusal != nil {
		s.fail(o.refusal)
		return
	}
	if t := s.listener.Timeouts.Connect; t > 0 {
		o.until = s.worker.loop.Now().Add(t)
	}
	s.deadline(s.listener.Timeouts.Connect)
	switch r.Command {
	case Inform:
		s.serve()
		s.farewell(s.reply(Outcome{}))
	case Join:
		s.join()
	case Bind, Associate:
		s.serveOutside()
	default:
		s.phase = awaiting
		if s.listener.FirstDataWait > 0 && len(o.in) == 0 {
			s.deadline(s.listener.FirstDataWait)
			s.await()
			return
		}
		s.route()
	}
}

// await goes on once the client has sent something, or will not.
func (s *session) await() {
	client := &s.pair.Ends[relay.Client]
	if s.readClient() || s.phase == awaiting && client.Hangup {
		s.route()
	}
}

// fail tells the client that its request could not be satisfied.
func (s *session) fail(err error) {
	o := s.opening
	o.count(reasonOf(err, RefusedServer), err)
	o.err = err
	o.stop()
	s.farewell(s.reply(Outcome{Err: err}))
}

// farewell ends a session whose last word has been sent: it waits until the
// client has read it, because a close with unread bytes would be a reset that
// overtakes it. With nothing said the connection is reset.
func (s *session) farewell(said bool) {
	e := s.worker.embryos[s]
	switch {
	case s.phase == closed:
		return
	case said && e != nil:
		e.last = true
	case !said || s.shutdownClient() != nil:
		s.end(s.opening.err, true)
		return
	}
	s.phase = lingering
	s.deadline(lingerTime)
	s.linger()
}

// linger discards what the client still sends until it closes.
func (s *session) linger() {
	sock := &s.pair.Ends[relay.Client]
	scratch := s.worker.pool.Scratch()
	for budget := 16; sock.Readable; budget-- {
		if budget == 0 {
			s.worker.loop.Again(sock)
			return
		}
		n, err := relay.Read(sock, scratch)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil || n == 0 {
			s.end(s.opening.err, false)
			return
		}
	}
}

// expired runs when the phase has taken too long.
func (o *opening) expired() {
	s := o.s
	switch s.phase {
	case greeting, authorising:
		s.reject(RefusedHandshake, errHandshakeTimeout)
	case awaiting:
		s.route()
	case resolving:
		s.fail(&net.DNSError{Err: "no answer in time", Name: s.name().host, IsTimeout: true})
	case dialling:
		o.dial.timedOut()
	case lingering:
		s.end(o.err, false)
	}
}

// task is work for a session that a goroutine does because it may block.
type task struct{ cancel context.CancelFunc }

// spawn runs work in a goroutine, which ends with its context. What it posts
// is run on the loop, and told whether the session still waits for it.
func (s *session) spawn(work func(ctx context.Context, post func(func(wanted bool)))) {
	w := s.worker
	ctx, cancel := context.WithCancel(w.server.ctx)
	t := &task{cancel}
	s.opening.task = t
	post := func(f func(wanted bool)) {
		err := w.loop.Post(func() { f(s.opening != nil && s.opening.task == t) })
		if err != nil {
			f(false)
		}
	}
	w.server.running.Go(func() {
		defer cancel()
		work(ctx, post)
	})
}

// stop ends what is under way: a task, or connections being tried.
func (o *opening) stop() {
	if o.task != nil {
		o.task.cancel()
		o.task = nil
	}
	o.dial.stop()
}
