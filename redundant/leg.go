// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// hearTime is how long a leg may take to connect and to say that it is one.
	hearTime = 10 * time.Second
	// lastTime is how long legs that still work may take for the end, and
	// closeTime when the Hub is closed.
	lastTime  = 5 * time.Second
	closeTime = time.Second / 2
	// silence is how long a leg lives that nothing gets through. A new one is
	// faster than the long pauses that TCP makes by then.
	silence = 5 * time.Second
	// idle is when a leg is probed over which nothing has come, and again.
	idle = 10 * time.Second
	// maxUnsent is what waits in the kernel to be sent on a leg: what another
	// leg has carried in the meantime need not be sent, but this has to be.
	maxUnsent = 32 << 10
	// maxAnswer bounds what comes before the first frame.
	maxAnswer = 1020
)

// LegOptions say how a connection becomes a leg.
type LegOptions struct {
	// Say is sent before the first frame. The frames follow at once.
	Say []byte
	// Hear looks at all that has arrived so far and returns how much of it
	// comes before the first frame, or ErrShort. Nil: nothing does.
	Hear func(in []byte) (n int, err error)
	// Early are frames that have been read already.
	Early []byte
}

// Leg is one connection of a stream.
type Leg struct {
	stream *Stream
	file   *os.File
	wake   chan struct{} // there may be something to send
	gone   chan struct{} // closed when the connection is

	hear   func([]byte) (int, error)
	answer []byte // so far; nil once it was heard
	heard  chan struct{}
	header [HeaderLen]byte
	have   int    // bytes of it
	left   int    // bytes of the present frame that are to come
	offset uint64 // of the next one of them

	// Of the stream's lock:
	at    uint64 // place in the stream
	acked uint64 // what it was told that has arrived
	fin   bool   // it was told the end
	up    bool   // it was heard
	err   error
}

// Join makes a connected or connecting TCP or MPTCP socket, which must not
// block, a leg of the stream, which owns it then. It may join at any time. The
// error is ErrLegs or ErrEnded; the socket remains the caller's.
func (s *Stream) Join(fd int, o LegOptions) (*Leg, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over():
		return nil, ErrEnded
	case len(s.legs) >= s.hub.config.MaxLegs:
		return nil, ErrLegs
	}
	prepare(fd)
	l := &Leg{
		stream: s, file: fileOf(fd, "leg"), hear: o.Hear, at: s.out.base,
		wake: make(chan struct{}, 1), gone: make(chan struct{}), heard: make(chan struct{}),
	}
	if l.hear != nil {
		_ = l.file.SetReadDeadline(time.Now().Add(hearTime)) // sockets can
	} else {
		l.up = true
		close(l.heard)
	}
	s.legs = append(s.legs, l)
	s.hub.legs.Add(1)
	if s.orphaned != nil {
		s.orphaned.Stop()
		s.orphaned = nil
	}
	s.running.Add(2)
	s.hub.running.Go(func() { defer s.running.Done(); l.close(l.write(o.Say)) })
	s.hub.running.Go(func() { defer s.running.Done(); l.close(l.read(o.Early)) })
	return l, nil
}

// prepare sets the options of a leg's socket. What a kernel cannot do for MPTCP
// makes a leg no worse than another connection.
func prepare(fd int) {
	set := func(level, option, value int) { _ = unix.SetsockoptInt(fd, level, option, value) }
	set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	set(unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	set(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence/time.Millisecond))
	set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(idle/time.Second))
	set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(silence/time.Second))
}

// Heard is closed once the peer has said that the connection is a leg.
func (l *Leg) Heard() <-chan struct{} { return l.heard }

// Gone is closed when the leg has ended; Err says why.
func (l *Leg) Gone() <-chan struct{} { return l.gone }

// Err is why a leg is gone.
func (l *Leg) Err() error {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	return l.err
}

// begin is called when frames are to come, after the answer.
func (l *Leg) begin() {
	l.hear, l.answer = nil, nil
	defer close(l.heard)
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.up = true
	if !l.stream.over() { // else there is a deadline for the end
		_ = l.file.SetReadDeadline(time.Time{})
	}
}

// close ends the leg, unless nil says that it still has to hear the end.
func (l *Leg) close(err error) {
	if err == nil {
		return
	}
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = err
	for i := range s.legs {
		if s.legs[i] == l {
			s.legs = append(s.legs[:i], s.legs[i+1:]...)
			break
		}
	}
	s.hub.legs.Add(-1)
	s.orphan()
	l.file.Close()
	close(l.gone)
}

// conclude has the leg tell the end within a time. The caller holds the stream's
// lock.
func (l *Leg) conclude(within time.Duration) {
	_ = l.file.SetDeadline(time.Now().Add(within))
	l.nudge()
}

func (l *Leg) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends what there is to send. It returns nil when the end is told.
func (l *Leg) write(say []byte) error {
	for {
		block := frames.Get().(*[]byte)
		b, last := l.next(append((*block)[:0], say...))
		var err error
		if say = nil; len(b) > 0 {
			_, err = l.file.Write(b)
		}
		frames.Put(block)
		switch {
		case err != nil:
			return fmt.Errorf("write to leg: %w", err)
		case last:
			return l.shut()
		case len(b) > 0:
			continue
		}
		select {
		case <-l.wake:
		case <-l.gone:
			return io.ErrClosedPipe
		}
	}
}

// shut tells the peer that nothing more comes.
func (l *Leg) shut() error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(err, failed)
}

// next appends the frames that are to be sent now, and reports whether they are
// the last.
func (l *Leg) next(b []byte) (frames []byte, last bool) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return Header{Kind: Reset}.AppendTo(b), true
	}
	if ack := s.in.ack(); ack != l.acked {
		b = Header{Kind: Ack, Offset: ack}.AppendTo(b)
		l.acked = ack
	}
	if h, data, ok := s.out.next(l.at); ok && !(h.Kind == Fin && l.fin) {
		b = append(h.AppendTo(b), data...)
		l.at, l.fin = h.Offset+uint64(h.Length), h.Kind == Fin
		s.change() // there may be room for more in front of all legs
		return b, false
	}
	return b, s.ended
}

// read takes what arrives until the leg ends.
func (l *Leg) read(early []byte) error {
	r, err := newReader(l.file)
	if err == nil {
		err = l.take(early)
	}
	for err == nil {
		var b []byte
		if b, err = r.next(); err == nil {
			err = l.take(b)
			r.done()
		}
	}
	return fmt.Errorf("read from leg: %w", err)
}

// take looks at bytes that have arrived.
func (l *Leg) take(b []byte) error {
	if l.hear != nil {
		l.answer = append(l.answer, b...)
		n, err := l.hear(l.answer)
		switch {
		case errors.Is(err, ErrShort) && len(l.answer) <= maxAnswer:
			return nil
		case err != nil:
			return err
		}
		b = l.answer[n:]
		l.begin()
	}
	for len(b) > 0 {
		if l.left > 0 {
			n := min(l.left, len(b))
			if err := l.receive(Header{Kind: Data, Length: n, Offset: l.offset}, b[:n]); err != nil {
				return err
			}
			l.left -= n
			l.offset += uint64(n)
			b = b[n:]
			continue
		}
		n := copy(l.header[l.have:], b)
		l.have += n
		b = b[n:]
		if l.have < HeaderLen {
			return nil
		}
		l.have = 0
		if err := l.frame(); err != nil {
			return err
		}
	}
	return nil
}

// frame takes the header of one.
func (l *Leg) frame() error {
	h, err := ParseHeader(l.header[:])
	switch {
	case err != nil:
		return err
	case h.Kind == Reset:
		l.stream.Abort(ErrReset)
		return nil
	case h.Kind == Data:
		l.left, l.offset = h.Length, h.Offset
		return nil
	case h.Kind == Fin:
		return l.receive(h, nil)
	}
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over() {
		return nil
	}
	if err := s.out.acknowledge(h.Offset); err != nil {
		return err
	}
	s.change()
	s.settle()
	return nil
}

// receive takes data, or a Fin, when there is room.
func (l *Leg) receive(h Header, data []byte) (err error) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patiently(s.hub.pending, func() bool {
		if s.over() {
			return true
		}
		before := s.in.end
		var n int
		n, err = s.in.take(h, data)
		h.Offset += uint64(n)
		data = data[n:]
		if s.in.end != before || h.Kind == Fin {
			select {
			case s.deliver <- struct{}{}:
			default:
			}
		}
		return err != nil || len(data) == 0
	})
	return err
}
