// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/workload"
	"github.com/tandem-gateway/tandem/mptcp"
)

// A client asks the source for a number of bytes, in 8 bytes. It gets as many,
// or fewer if it ends its own stream before, then their number and SHA-256, and
// the end of the stream unless it has asked for none.
const (
	askSize     = 8
	trailerSize = 8 + sha256.Size
	endless     = 1 << 62
)

// source serves on a host until its context ends.
type source struct {
	ln      net.Listener
	serving sync.WaitGroup
}

func startSource(ctx context.Context, h *lab.Host, addr netip.AddrPort) (*source, error) {
	s := &source{}
	err := h.Do(func() (err error) {
		s.ln, err = mptcp.NewListener(addr, mptcp.ListenOptions{Mode: mptcp.ModeOff, Backlog: 4096})
		return err
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { s.ln.Close() })
	s.serving.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			s.serving.Go(func() {
				defer c.Close()
				defer stop()
				serve(c)
			})
		}
	})
	return s, nil
}

// serve answers one request, and then waits for the end of the connection.
func serve(c net.Conn) {
	var ask [askSize]byte
	if _, err := io.ReadFull(c, ask[:]); err != nil {
		return
	}
	left := int64(binary.BigEndian.Uint64(ask[:]))
	var ended atomic.Bool
	var reading sync.WaitGroup
	reading.Go(func() {
		c.Read(make([]byte, 1))
		ended.Store(true)
	})
	defer reading.Wait()
	random := rand.NewChaCha8([32]byte(bytes.Repeat(ask[:], 4)))
	hash := sha256.New()
	var sent uint64
	for buf := make([]byte, min(left, 64<<10)); left > 0 && !ended.Load(); {
		b := buf[:min(left, int64(len(buf)))]
		random.Read(b)
		n, err := c.Write(b)
		if err != nil {
			return
		}
		hash.Write(b[:n])
		sent += uint64(n)
		left -= int64(n)
	}
	c.Write(hash.Sum(binary.BigEndian.AppendUint64(nil, sent)))
	// Who asks for nothing wants a connection that stays.
	if tcp, ok := c.(*net.TCPConn); ok && sent > 0 {
		tcp.CloseWrite()
	}
}

// download is a transfer from the source to the client.
type download struct {
	conn     *net.TCPConn
	received atomic.Int64
	done     chan struct{}
	err      error // once done
}

// startDownload asks for so many bytes.
func startDownload(h *lab.Host, entry netip.AddrPort, size int64) (*download, error) {
	d := &download{done: make(chan struct{})}
	err := h.Do(func() error {
		c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(entry))
		d.conn = c
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := d.conn.Write(binary.BigEndian.AppendUint64(nil, uint64(size))); err != nil {
		d.conn.Close()
		return nil, err
	}
	go func() {
		defer close(d.done)
		defer d.conn.Close()
		d.err = d.read()
	}()
	return d, nil
}

// read reads to the end and compares with the trailer.
func (d *download) read() error {
	r := bufio.NewReaderSize(d.conn, 256<<10)
	hash := sha256.New()
	var n uint64
	for {
		b, err := r.Peek(trailerSize + 1)
		if errors.Is(err, io.EOF) {
			if len(b) < trailerSize {
				return fmt.Errorf("%w: the stream ended early", workload.ErrOtherBytes)
			}
			if binary.BigEndian.Uint64(b) != n || !bytes.Equal(b[8:], hash.Sum(nil)) {
				return workload.ErrOtherBytes
			}
			return nil
		}
		if err != nil {
			return err
		}
		b, _ = r.Peek(r.Buffered() - trailerSize)
		hash.Write(b)
		n += uint64(len(b))
		d.received.Add(int64(len(b)))
		r.Discard(len(b))
	}
}

// stopWithin is how long what a source has sent may be on its way.
const stopWithin = 30 * time.Second

// stop has the source end, and waits for what it has sent.
func (d *download) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	d.conn.CloseWrite()
	return d.wait(ctx)
}

func (d *download) wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		d.conn.Close()
		<-d.done
		return ctx.Err()
	}
}

// goodput is what a download has received over time.
type goodput struct {
	Seconds []float64
	Bytes   []float64
}

// sampleEvery is the distance of samples.
const sampleEvery = 100 * time.Millisecond

// watchGoodput samples until the download ends or stop is called, which returns
// the samples.
func watchGoodput(d *download, start time.Time) (stop func() goodput) {
	var g goodput
	quit := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			g.Seconds = append(g.Seconds, time.Since(start).Seconds())
			g.Bytes = append(g.Bytes, float64(d.received.Load()))
			select {
			case <-tick.C:
			case <-d.done:
				return
			case <-quit:
				return
			}
		}
	})
	return func() goodput {
		close(quit)
		sampling.Wait()
		return g
	}
}

// windows are the rates in Mbit/s over windows of so many samples, one at the
// end of each sample but the first ones.
func (g goodput) windows(samples int) (at, rates []float64) {
	for i := samples; i < len(g.Seconds); i++ {
		at = append(at, g.Seconds[i])
		rates = append(rates, (g.Bytes[i]-g.Bytes[i-samples])*8/1e6/(g.Seconds[i]-g.Seconds[i-samples]))
	}
	return at, rates
}
