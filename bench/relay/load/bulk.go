// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

// chunk is how much is sent or received at once. It fits the second-level
// cache of a core: larger ones make the source and the client slower than the
// fastest relays.
const chunk = 256 << 10

// leastChunk is how much it is if there are very many streams, whose buffers
// would else be gigabytes.
const leastChunk, allChunks = 16 << 10, 64 << 20

// buffer is one for a stream of the job.
func (j *Job) buffer() []byte {
	return make([]byte, min(max(allChunks/max(j.Streams, 1), leastChunk), chunk))
}

// confirmation is the number of bytes that the source has received, sent by it
// once the stream has ended.
const confirmation = 8

// stream is what one connection of a bulk job carried.
type stream struct {
	bytes     int64 // after the warm-up
	early     int64 // during it
	elapsed   time.Duration
	confirmed bool
	err       error
}

// carry counts n bytes, and tells whether to go on until end.
func (s *stream) carry(n int, begun, end time.Time) bool {
	now := time.Now()
	if now.Before(begun) {
		s.early += int64(n)
	} else {
		s.bytes += int64(n)
	}
	return now.Before(end)
}

// runBulk is the workloads BulkUp and BulkDown. The streams start together.
func runBulk(ctx context.Context, job *Job) (Result, error) {
	conns := make([]*mptcp.Conn, job.Streams)
	defer func() {
		for _, c := range conns {
			if c != nil {
				abort(c)
			}
		}
	}()
	for i := range conns {
		c, err := dialBulk(ctx, job)
		if err != nil {
			var r Result
			r.fail(err)
			return r, nil
		}
		conns[i] = c
	}
	begun := time.Now().Add(job.WarmUp)
	streams := make([]stream, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			if job.Workload == BulkUp {
				streams[i] = sendFor(c, job, begun)
			} else {
				streams[i] = receiveFor(c, job, begun)
			}
		})
	}
	wg.Wait()
	var r Result
	for _, s := range streams {
		r.Bytes += s.bytes
		r.Total += s.bytes + s.early
		r.Elapsed = max(r.Elapsed, s.elapsed)
		if s.err != nil {
			r.fail(s.err)
		}
		if job.Workload == BulkUp && s.err == nil && !s.confirmed {
			r.Unconfirmed++
		}
	}
	return r, nil
}

// abort closes a connection with a reset. Otherwise one on which data is still
// on its way stays: Linux does not reset an MPTCP connection that gets data
// after it was closed, but drops it after net.mptcp.close_timeout, and until
// then all buffers on the way are full.
func abort(c *mptcp.Conn) {
	// Fails only for a socket that is gone.
	_ = c.SetLinger(0)
	c.Close()
}

// dialBulk makes a connection through which the source can be spoken to.
func dialBulk(ctx context.Context, job *Job) (*mptcp.Conn, error) {
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: job.mode()}, Timeout: job.Patience}
	c, err := d.DialContext(ctx, "tcp", job.Via.String())
	if err != nil {
		return nil, err
	}
	if job.Target.IsValid() {
		err := c.SetDeadline(time.Now().Add(job.Patience))
		if err == nil {
			err = socksConnect(c, job.Target)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, c.SetDeadline(time.Time{})
}

// sendFor sends for the duration of the job, ends the stream, and waits until
// the source has received all of it. If the source's word on that does not get
// through, the time counts until the last byte was sent.
func sendFor(c *mptcp.Conn, job *Job, begun time.Time) (s stream) {
	end := begun.Add(job.Duration)
	if s.err = c.SetDeadline(end.Add(job.Patience)); s.err != nil {
		return s
	}
	buf := job.buffer()
	for more := true; more; {
		n, err := c.Write(buf)
		if err != nil {
			s.err = fmt.Errorf("send: %w", err)
			return s
		}
		more = s.carry(n, begun, end)
	}
	if err := c.CloseWrite(); err != nil {
		s.err = fmt.Errorf("end the stream: %w", err)
		return s
	}
	s.elapsed = time.Since(begun)
	var in [confirmation]byte
	n, err := io.ReadFull(c, in[:])
	switch {
	case err == nil:
		s.confirmed, s.elapsed = true, time.Since(begun)
		if sent, got := s.early+s.bytes, int64(binary.BigEndian.Uint64(in[:])); got != sent {
			s.err = fmt.Errorf("sent %d bytes, the source received %d", sent, got)
		}
	case n == 0 && !isTimeout(err):
		// The relay did not pass the end on as one, but closed both sides.
	default:
		s.err = fmt.Errorf("wait for the source to confirm: %w", err)
	}
	return s
}

// receiveFor receives for the duration of the job, or for longer until
// something arrives.
func receiveFor(c *mptcp.Conn, job *Job, begun time.Time) (s stream) {
	end := begun.Add(job.Duration)
	if s.err = c.SetDeadline(end); s.err != nil {
		return s
	}
	buf := job.buffer()
	for more := true; more; {
		n, err := c.Read(buf)
		more = s.carry(n, begun, end)
		switch {
		case err == nil:
		case isTimeout(err) && !more && s.early+s.bytes > 0:
		case isTimeout(err) && time.Now().Before(end.Add(job.Patience)):
			more = true
			s.err = c.SetDeadline(end.Add(job.Patience))
		default:
			s.err = err
		}
		if s.err != nil {
			s.err = fmt.Errorf("receive: %w", s.err)
			return s
		}
	}
	s.elapsed = time.Since(begun)
	return s
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
