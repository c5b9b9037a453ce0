// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/await"
)

// readSize is the size of read buffers, in bytes.
const readSize = 64 << 10

// Serve serves clients of workloads on a listener until ctx ends, and closes
// it. A client that breaks the protocol, or whose bytes have changed on the
// way, is reset.
func Serve(ctx context.Context, ln net.Listener) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // that client has gone
		}
		serving.Go(func() {
			stop := context.AfterFunc(ctx, func() { abort(c) })
			defer stop()
			if err := serve(ctx, c); err != nil {
				abort(c)
				return
			}
			c.Close()
		})
	}
}

// abort closes a connection with a reset: what is under way is given up.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // fails only on what is closed
	}
	c.Close()
}

// server is the server's end of a connection.
type server struct {
	in       *bufio.Reader
	out      net.Conn
	up, down flow
	scratch  []byte
}

// serve answers requests until the client ends.
func serve(ctx context.Context, c net.Conn) error {
	// Small at first: a tunnel that is idle should cost little.
	s := server{in: bufio.NewReaderSize(c, 4<<10), out: c}
	for {
		var head [askSize]byte
		if _, err := io.ReadFull(s.in, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.up.skip(askSize)
		a, err := parseAsk(&head)
		if err == nil {
			err = s.answer(ctx, a)
		}
		if err != nil {
			return err
		}
	}
}

func (s *server) answer(ctx context.Context, a ask) error {
	if a.kind == stream {
		return s.stream(ctx, a)
	}
	if err := s.take(a.request - askSize); err != nil {
		return err
	}
	if a.kind == stamp {
		s.down.skip(stampSize)
		_, err := s.out.Write(appendTime(nil, clock()))
		return err
	}
	if err := await.Pause(ctx, a.pause); err != nil {
		return err
	}
	for left := a.answer; left > 0; {
		b := s.down.piece(left)
		if _, err := s.out.Write(b); err != nil {
			return err
		}
		left -= uint64(len(b))
	}
	return nil
}

// take takes the rest of a request.
func (s *server) take(n uint64) error {
	if n > 0 && s.scratch == nil {
		s.scratch = make([]byte, min(n, readSize))
	} else if uint64(len(s.scratch)) < min(n, readSize) {
		s.scratch = make([]byte, readSize)
	}
	for n > 0 {
		b := s.scratch[:min(n, uint64(len(s.scratch)))]
		got, err := s.in.Read(b)
		if err != nil {
			return err
		}
		if err := s.up.check(b[:got]); err != nil {
			return err
		}
		n -= uint64(got)
	}
	return nil
}

// floodUnsent is what may wait to be sent in the socket of a stream without
// pauses, in bytes: what the sender itself holds back is no business of the way.
const floodUnsent = 64 << 10

// holdBack has writes wait once so much is unsent.
func holdBack(c net.Conn) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, floodUnsent)
	})
	return errors.Join(err, controlErr)
}

// stream sends messages at their times. One that cannot be sent in time delays
// those after it, and its time says so. Without a pause the next one is due when
// the kernel has taken all before it.
func (s *server) stream(ctx context.Context, a ask) error {
	start := clock()
	if a.pause == 0 {
		if err := holdBack(s.out); err != nil {
			return err
		}
	}
	message := make([]byte, 0, a.request)
	for i := range a.answer {
		due := start + time.Duration(i)*a.pause
		if a.pause == 0 {
			due = clock()
		}
		if err := await.Pause(ctx, due-clock()); err != nil {
			return err
		}
		message = appendTime(message[:0], due)
		s.down.skip(stampSize)
		for left := a.request - stampSize; left > 0; {
			b := s.down.piece(left)
			message = append(message, b...)
			left -= uint64(len(b))
		}
		if _, err := s.out.Write(message); err != nil {
			return err
		}
	}
	return nil
}
