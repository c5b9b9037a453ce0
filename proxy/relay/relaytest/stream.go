// SPDX-License-Identifier: Apache-2.0

package relaytest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
)

// Seeds of the streams of both ends.
const (
	clientSeed = 1
	serverSeed = 2
)

// stream is the endless sequence of bytes that belongs to a seed: sender and
// receiver make it on their own.
func stream(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// head returns the first n bytes of a stream.
func head(seed uint64, n int) []byte {
	b := make([]byte, n)
	io.ReadFull(stream(seed), b)
	return b
}

// sender writes a stream.
type sender struct {
	conn   *net.TCPConn
	source io.Reader
	buf    []byte
	rest   []byte // of buf, not written yet
}

func newSender(c *net.TCPConn, seed uint64, chunk int) *sender {
	return &sender{conn: c, source: stream(seed), buf: make([]byte, chunk)}
}

// skip passes over what has been sent by other means.
func (s *sender) skip(n int) { io.CopyN(io.Discard, s.source, int64(n)) }

// once writes once, at most n bytes, and returns how many were written.
func (s *sender) once(n int) (int, error) {
	if len(s.rest) == 0 {
		s.rest = s.buf
		io.ReadFull(s.source, s.rest)
	}
	m, err := s.conn.Write(s.rest[:min(n, len(s.rest))])
	s.rest = s.rest[m:]
	return m, err
}

// send writes the next n bytes.
func (s *sender) send(n int) error {
	for n > 0 {
		m, err := s.once(n)
		n -= m
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

// receiver reads a stream and compares it with what it should be.
type receiver struct {
	conn     *net.TCPConn
	source   io.Reader
	got      int
	buf, ref []byte
}

func newReceiver(c *net.TCPConn, seed uint64, chunk int) *receiver {
	return &receiver{conn: c, source: stream(seed), buf: make([]byte, chunk), ref: make([]byte, chunk)}
}

var errWrongByte = errors.New("wrong byte")

// once reads once, at most n bytes.
func (r *receiver) once(n int) error {
	n, err := r.conn.Read(r.buf[:min(n, len(r.buf))])
	if n > 0 {
		io.ReadFull(r.source, r.ref[:n])
		if !bytes.Equal(r.buf[:n], r.ref[:n]) {
			i := 0
			for r.buf[i] == r.ref[i] {
				i++
			}
			return fmt.Errorf("%w at offset %d", errWrongByte, r.got+i)
		}
		r.got += n
	}
	return err
}

// receive reads the next n bytes.
func (r *receiver) receive(n int) error {
	for want := r.got + n; r.got < want; {
		if err := r.once(want - r.got); err != nil {
			return fmt.Errorf("receive after %d bytes: %w", r.got, err)
		}
	}
	return nil
}

// toEnd reads until the stream ends, which must be after size bytes in all.
func (r *receiver) toEnd(size int) error {
	err := r.toError()
	if err != io.EOF {
		return fmt.Errorf("receive after %d of %d bytes: %w", r.got, size, err)
	}
	if r.got != size {
		return fmt.Errorf("the stream ended after %d bytes, want %d", r.got, size)
	}
	return nil
}

// toError reads until reading fails.
func (r *receiver) toError() error {
	for {
		if err := r.once(len(r.buf)); err != nil {
			return err
		}
	}
}

// both runs f and g at the same time.
func both(f, g func() error) error {
	other := make(chan error)
	go func() { other <- g() }()
	return errors.Join(f(), <-other)
}

// reset closes c so that its peer gets a reset.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
