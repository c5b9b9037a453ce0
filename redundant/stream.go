// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// errGivenUp is for a local end that was released without a reason.
var errGivenUp = errors.New("given up before it began")

// Stream is one end of a byte stream that legs carry. Locally it is a socket
// pair, of which the caller has the other end.
type Stream struct {
	hub      *Hub
	key      Key
	instance Instance
	local    *os.File
	aborted  func(error)
	context  context.Context // ends with the stream
	cancel   context.CancelCauseFunc
	deliver  chan struct{} // there is something for the local end
	released chan struct{} // the caller has closed its end

	mu       sync.Mutex
	out      *sender
	in       *receiver
	legs     []*Leg
	running  sync.WaitGroup // legs
	changed  chan struct{}  // closed when there may be room again; nil: nobody waits
	orphaned *time.Timer    // ends a stream without legs
	started  bool
	let      bool // the local end was released
	verdict  error
	err      error // why the stream was aborted
	ended    bool  // both directions have come to their confirmed end
}

// Start begins to carry what goes through fd, one end of a non-blocking pair of
// AF_UNIX stream sockets; the stream owns it. The caller keeps the other end,
// and closes it and calls Release once both directions have ended there, or
// when it gives up, or when aborted was called: which happens at most once,
// from a goroutine of the stream, when the stream ends otherwise. The socket
// pair itself cannot tell an end from an abort.
func (s *Stream) Start(fd int, aborted func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local, s.aborted, s.started = fileOf(fd, "redundant stream"), aborted, true
	s.hub.running.Go(s.run)
	if err := s.err; err != nil {
		s.hub.running.Go(func() { aborted(err) })
	}
	s.orphan()
}

// orphan starts the clock of a stream without legs. The caller holds s.mu.
func (s *Stream) orphan() {
	if len(s.legs) == 0 && s.started && !s.over() && s.orphaned == nil {
		s.orphaned = time.AfterFunc(s.hub.config.Linger, func() { s.Abort(ErrNoLeg) })
	}
}

// over reports whether nothing is to be carried any more. The caller holds s.mu.
func (s *Stream) over() bool { return s.err != nil || s.ended }

// ID is the name of the stream.
func (s *Stream) ID() ID { return s.key.ID }

// Instance is what this end has made of the name.
func (s *Stream) Instance() Instance { return s.instance }

// Done is closed when the stream has come to its end, one way or another.
func (s *Stream) Done() <-chan struct{} { return s.context.Done() }

// Release says that the caller has closed its end: having got and given all
// there was, with a nil error, or giving up. A second call changes nothing.
func (s *Stream) Release(err error) {
	s.mu.Lock()
	if s.let {
		s.mu.Unlock()
		return
	}
	s.let, s.verdict = true, err
	close(s.released)
	started := s.started
	s.mu.Unlock()
	if err != nil || !started {
		s.end(errors.Join(err, errGivenUp), false)
	}
	if !started {
		s.hub.remove(s, Header{Kind: Reset}.AppendTo(nil))
	}
}

// Abort ends the stream at both ends.
func (s *Stream) Abort(err error) { s.end(err, true) }

// AbortBare is Abort if no leg is up.
func (s *Stream) AbortBare(err error) {
	s.mu.Lock()
	bare := !slices.ContainsFunc(s.legs, func(l *Leg) bool { return l.up })
	s.mu.Unlock()
	if bare {
		s.Abort(err)
	}
}

// end aborts the stream, and says so to the local end if that does not know.
func (s *Stream) end(err error, tell bool) {
	s.mu.Lock()
	if s.over() {
		s.mu.Unlock()
		return
	}
	s.err = err
	s.conclude()
	tell = tell && s.started
	s.mu.Unlock()
	if tell {
		s.aborted(err)
	}
}

// conclude lets everybody know that the stream is over. The caller holds s.mu.
func (s *Stream) conclude() {
	if s.orphaned != nil {
		s.orphaned.Stop()
	}
	for _, l := range s.legs {
		l.conclude(lastTime)
	}
	s.cancel(s.err)
	s.change()
	s.wake()
}

// hurry ends the stream, and gives legs that still tell of an end less time.
func (s *Stream) hurry() {
	s.Abort(ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.legs {
		l.conclude(closeTime)
	}
}

// settle looks whether both directions have ended. The caller holds s.mu.
func (s *Stream) settle() {
	if !s.over() && s.out.done && s.in.finished() {
		s.ended = true
		s.conclude()
	}
}

// change lets those look again who wait for room. The caller holds s.mu.
func (s *Stream) change() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// wake lets all legs look whether they have something to send, and the local
// end whether there is something to deliver.
func (s *Stream) wake() {
	for _, l := range s.legs {
		l.nudge()
	}
	select {
	case s.deliver <- struct{}{}:
	default:
	}
}

// patiently tries until there was room in m, or the stream is over. The caller holds
// s.mu, which is free in between.
func (s *Stream) patiently(m *memory, try func() bool) {
	var freed <-chan struct{}
	for !try() && !s.over() {
		if freed == nil {
			freed = m.whenFreed() // what came back before is seen by another try
			continue
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-changed:
		}
		freed = nil
		s.mu.Lock()
	}
}

// run carries bytes between the local end and the legs.
func (s *Stream) run() {
	var both sync.WaitGroup
	both.Go(s.pump)
	both.Go(s.drain)
	both.Wait()
	<-s.context.Done() // the peer's confirmation may take another leg
	s.running.Wait()
	<-s.released
	s.local.Close()
	s.mu.Lock()
	last := s.lastWords()
	s.out.release(s.out.end)
	s.in.release(s.in.end)
	s.mu.Unlock()
	s.hub.remove(s, last)
}

// lastWords are for legs that join after the end.
func (s *Stream) lastWords() []byte {
	if s.err != nil {
		return Header{Kind: Reset}.AppendTo(nil)
	}
	b := Header{Kind: Ack, Offset: s.in.ack()}.AppendTo(nil)
	return Header{Kind: Fin, Offset: s.out.end}.AppendTo(b)
}

// pump takes what the local end sends.
func (s *Stream) pump() {
	r, err := newReader(s.local)
	for err == nil {
		var b []byte
		if b, err = r.next(); err == nil {
			err = s.send(b)
			r.done()
		}
	}
	if err == io.EOF {
		s.closing()
		return
	}
	s.Abort(fmt.Errorf("local end: %w", err))
}

// maxAhead is what waits in front of all legs, in bytes. More of it would get
// nothing sent sooner, and delay all that is behind it.
const maxAhead = 64 << 10

// room is how much more may wait. The caller holds s.mu.
func (s *Stream) room() int {
	first := s.out.base
	for _, l := range s.legs {
		first = max(first, l.at)
	}
	return max(0, maxAhead-int(s.out.end-first))
}

// send takes bytes as there is room for them.
func (s *Stream) send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patiently(s.hub.unacked, func() bool {
		if n := s.out.write(b[:min(len(b), s.room())]); n > 0 {
			b = b[n:]
			s.wake()
		}
		return len(b) == 0
	})
	return s.err
}

// closing is called when nothing more comes from the local end: because it has
// ended its direction, or because it was closed, and why is still to be said.
func (s *Stream) closing() {
	hungUp := hangup(s.local)
	if hungUp {
		select {
		case <-s.released:
		case <-s.context.Done():
		}
	}
	s.mu.Lock()
	if s.err == nil && s.verdict == nil {
		s.out.finish()
		s.wake()
	}
	s.mu.Unlock()
}

// hangup reports whether the other end of a pair is closed, rather than shut
// down for writing only.
func hangup(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return true
	}
	poll := []unix.PollFd{{}}
	err = raw.Control(func(fd uintptr) {
		poll[0].Fd = int32(fd)
		_, _ = unix.Poll(poll, 0) // tells nothing on an error, which cannot be
	})
	return err != nil || poll[0].Revents&unix.POLLHUP != 0
}

// drain delivers to the local end.
func (s *Stream) drain() {
	for {
		s.mu.Lock()
		b, finished, over := s.in.pending(), s.in.finished(), s.err != nil
		s.mu.Unlock()
		switch {
		case over:
			return
		case len(b) > 0:
			n, err := s.local.Write(b)
			s.mu.Lock()
			s.in.delivered(n)
			s.change()
			s.wake()
			s.mu.Unlock()
			if err != nil {
				s.undeliverable(err)
				return
			}
		case finished:
			s.shut()
			return
		default:
			<-s.deliver
		}
	}
}

// undeliverable is called when the local end does not take more: it was closed,
// and why is known in a moment.
func (s *Stream) undeliverable(err error) {
	select {
	case <-s.released:
	case <-s.context.Done():
	}
	s.end(fmt.Errorf("local end: %w", err), true)
}

// shut ends the direction to the local end.
func (s *Stream) shut() {
	if raw, err := s.local.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }) // it is closed already
	}
	s.mu.Lock()
	s.settle()
	s.wake()
	s.mu.Unlock()
}
