// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// action is one request and what has become of it. Times count from the
// beginning of the workload.
type action struct {
	at      time.Duration // due
	ask     ask
	session int   // of a schedule: which connection; -1: one of its own
	pieces  []int // sizes of the writes; nil: one

	sent  time.Duration // the last byte was handed to the kernel
	first time.Duration // the first byte of the answer came
	last  time.Duration // the last one did
	stamp time.Duration // by the machine's clock, of a stamp
	err   error
	done  chan struct{} // if there is one, closed at the end
	// progress, if there is one, is told how much of the answer has arrived.
	progress func(int64)
}

// session is a connection on which requests may follow each other without
// waiting for answers. Requests are sent by one goroutine and answers read by
// another, so that neither holds up the other.
type session struct {
	conn     net.Conn
	in       *bufio.Reader
	start    time.Time
	patience time.Duration
	up, down flow

	sending, awaiting chan *action
	working           sync.WaitGroup
	broken            context.CancelCauseFunc
	state             context.Context
}

// newSession takes over a connection for at most n actions.
func newSession(c net.Conn, patience time.Duration, n int) *session {
	s := &session{
		conn: c, in: bufio.NewReaderSize(c, readSize), patience: patience,
		sending: make(chan *action, n), awaiting: make(chan *action, n),
	}
	s.state, s.broken = context.WithCancelCause(context.Background())
	return s
}

// begin has the session work.
func (s *session) begin(start time.Time) {
	s.start = start
	s.working.Go(s.send)
	s.working.Go(s.receive)
}

// warmUp has an exchange before the session begins.
func (s *session) warmUp(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })()
	a := action{ask: ask{kind: exchange, request: askSize, answer: 1}}
	if err := s.write(&a); err != nil {
		return err
	}
	return s.read(&a)
}

// do queues an action, whose outcome is there once wait has returned.
func (s *session) do(a *action) { s.sending <- a }

// end says that nothing more will be queued.
func (s *session) end() { close(s.sending) }

// wait waits for all actions and the end, and closes the connection.
func (s *session) wait() {
	s.working.Wait()
	if s.state.Err() != nil {
		abort(s.conn)
	} else {
		s.conn.Close()
	}
	s.broken(nil)
}

// fail ends the session for the first reason that is given.
func (s *session) fail(err error) {
	s.broken(err)
	// What the other goroutine is doing on the connection ends too.
	_ = s.conn.SetDeadline(time.Unix(1, 0))
}

func (s *session) send() {
	defer close(s.awaiting)
	for a := range s.sending {
		if s.state.Err() == nil {
			if err := s.write(a); err != nil {
				s.fail(err)
			}
		}
		s.awaiting <- a
	}
}

// write sends a request in its pieces.
func (s *session) write(a *action) error {
	head := a.ask.appendTo(make([]byte, 0, askSize))
	s.up.skip(askSize)
	left := a.ask.request - askSize
	for i := 0; i < len(a.pieces) || i == 0; i++ {
		body := left
		if i < len(a.pieces) {
			body = uint64(a.pieces[i] - len(head))
		}
		left -= body
		// Header and body leave in one write, as long as they are short.
		b := head
		if body <= patternSize {
			b = append(b, s.up.piece(body)...)
			body = 0
		}
		if err := s.push(b); err != nil {
			return err
		}
		for body > 0 {
			b := s.up.piece(body)
			if err := s.push(b); err != nil {
				return err
			}
			body -= uint64(len(b))
		}
		head = nil
	}
	a.sent = time.Since(s.start)
	return nil
}

// push writes, with an end to its patience.
func (s *session) push(b []byte) error {
	if err := s.within(s.conn.SetWriteDeadline); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

// within sets a deadline, unless the session has failed, which must not be
// undone by that.
func (s *session) within(set func(time.Time) error) error {
	if err := set(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if s.state.Err() != nil {
		_ = set(time.Unix(1, 0))
	}
	return context.Cause(s.state)
}

func (s *session) receive() {
	for a := range s.awaiting {
		err := context.Cause(s.state)
		if err == nil {
			err = s.read(a)
		}
		if err != nil {
			s.fail(err)
			a.err = context.Cause(s.state)
		}
		if a.done != nil {
			close(a.done)
		}
	}
}

// read reads the answer.
func (s *session) read(a *action) error {
	if err := s.within(s.conn.SetReadDeadline); err != nil {
		return err
	}
	size := a.ask.answer
	if a.ask.kind == stamp {
		size = stampSize
	}
	if size == 0 {
		return nil
	}
	if _, err := s.in.Peek(1); err != nil {
		return answerError(err)
	}
	a.first = time.Since(s.start)
	if a.ask.kind == stamp {
		var b [stampSize]byte
		if _, err := io.ReadFull(s.in, b[:]); err != nil {
			return answerError(err)
		}
		s.down.skip(stampSize)
		a.stamp = parseTime(b[:])
	} else if err := s.take(size, a.progress); err != nil {
		return answerError(err)
	}
	a.last = time.Since(s.start)
	return nil
}

// take reads and checks so many bytes. As long as some come, more are awaited.
func (s *session) take(size uint64, progress func(int64)) error {
	extended, got := time.Now(), uint64(0)
	for got < size {
		if s.in.Buffered() == 0 {
			if _, err := s.in.Peek(1); err != nil {
				return err
			}
			if now := time.Now(); now.Sub(extended) > s.patience/10 {
				extended = now
				if err := s.within(s.conn.SetReadDeadline); err != nil {
					return err
				}
			}
		}
		b, _ := s.in.Peek(int(min(size-got, uint64(s.in.Buffered()))))
		if err := s.down.check(b); err != nil {
			return err
		}
		got += uint64(len(b))
		_, _ = s.in.Discard(len(b)) // has been peeked at
		if progress != nil {
			progress(int64(got))
		}
	}
	return nil
}

func answerError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errNoAnswer
	case errors.Is(err, io.EOF):
		return fmt.Errorf("await answer: %w", io.ErrUnexpectedEOF)
	}
	return err
}
