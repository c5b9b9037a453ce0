// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// Times of clients.
const (
	dialTime = 15 * time.Second
	// silence is how long a transfer may stand still. Plain TCP over a link that
	// goes down needs that at worst: its retransmissions are ever farther between.
	silence    = 75 * time.Second
	tunnelTime = 40 * time.Second
	tunnelPing = 500 * time.Millisecond
	pause      = 50 * time.Millisecond // between two transfers, at most
)

// failure is a connection that did not carry what it was to.
type failure struct {
	side   *side
	local  string // the client's address, which records have as well
	begun  bool   // bytes had come back
	err    error
	at     time.Duration
	tunnel bool
	// from and to are between which times it was opened, and failed.
	from, to time.Time
	still    string // what was seen of it when it had stood still
}

// tally is what became of connections.
type tally struct {
	mu        sync.Mutex
	transfers int
	tunnels   int
	bytes     int64 // there and back
	corrupt   []failure
	endless   []failure // all bytes came back right, and their end did not
	failures  []failure
	unable    int // the client's own network did not let it
	fuzzed    int // connections
	datagrams int // of fuzzers
	looks     int // at connections that stood still
}

// phones is where the aggregator takes SOCKS5 clients.
const phones = "192.0.2.1:1080"

var errRefused = errors.New("the proxy says no")

// way is how clients reach the server.
type way func(context.Context) (net.Conn, *side, error)

// viaHome is a client in the LAN that knows of no proxy.
func (w *world) viaHome(ctx context.Context) (net.Conn, *side, error) {
	c, err := dial(ctx, w.Client, w.server.String())
	return c, w.home, err
}

// viaSOCKS is a client of the aggregator that RADIUS knows.
func (w *world) viaSOCKS(ctx context.Context) (net.Conn, *side, error) {
	c, err := dial(ctx, w.CPE, phones)
	if err != nil {
		return nil, w.aggregator, err
	}
	if err := login(c); err != nil {
		return c, w.aggregator, err
	}
	return c, w.aggregator, nil
}

func dial(ctx context.Context, h *lab.Host, address string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: dialTime}
	err = h.Do(func() (err error) {
		c, err = d.DialContext(context.WithoutCancel(ctx), "tcp", address)
		return err
	})
	return c, err
}

// login asks for a tunnel to the server.
func login(c net.Conn) error {
	if err := authenticate(c); err != nil {
		return err
	}
	_, err := request(c, []byte{5, 1, 0, 1, 203, 0, 113, 80, 0, 7})
	return err
}

// authenticate is what comes before a request to a SOCKS5 server (RFC 1929).
func authenticate(c net.Conn) error {
	c.SetDeadline(time.Now().Add(dialTime + silence))
	if _, err := c.Write(append([]byte{5, 1, 2, 1, 4}, "anna\x06geheim"...)); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if answer[3] != 0 {
		return fmt.Errorf("%w: login %d", errRefused, answer[3])
	}
	return nil
}

// request returns the reply to a request, which has an IPv4 address.
func request(c net.Conn, message []byte) (reply []byte, err error) {
	if _, err := c.Write(message); err != nil {
		return nil, err
	}
	reply = make([]byte, 10)
	if _, err := io.ReadFull(c, reply); err != nil {
		return nil, err
	}
	if reply[1] != 0 {
		return nil, fmt.Errorf("%w: code %d", errRefused, reply[1])
	}
	return reply, nil
}

// transfers opens connections on a way, one after the other.
func (w *world) transfers(by way) func(context.Context, *rand.Rand) {
	return func(ctx context.Context, random *rand.Rand) {
		for ctx.Err() == nil {
			size := 1 + random.Int64N(20_000)
			switch n := random.IntN(100); {
			case n < 5:
				size = 1_000_000 + random.Int64N(3_000_000)
			case n < 30:
				size = 100_000 + random.Int64N(400_000)
			}
			w.transfer(ctx, by, random, size, 0)
			time.Sleep(time.Duration(random.Int64N(int64(pause))))
		}
	}
}

// tunnels keeps long connections open on which little is said.
func (w *world) tunnels(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		life := tunnelTime/2 + time.Duration(random.Int64N(int64(tunnelTime/2)))
		if end, set := ctx.Deadline(); set {
			life = min(life, time.Until(end))
		}
		by := w.viaHome
		if random.IntN(2) == 0 {
			by = w.viaSOCKS
		}
		w.transfer(ctx, by, random, int64(life/tunnelPing)*8, tunnelPing)
	}
}

// transfer sends so many bytes to the server, eight at a time with pauses between
// them if there are to be any, and compares what comes back by its hash.
func (w *world) transfer(ctx context.Context, by way, random *rand.Rand, size int64, every time.Duration) {
	from := time.Now()
	c, via, err := by(ctx)
	f := failure{side: via, err: err, at: time.Since(w.began), tunnel: every > 0, from: from}
	if c != nil {
		defer c.Close()
		f.local = c.LocalAddr().String()
	}
	got := int64(0)
	if err == nil {
		got, err = w.exchange(c.(*net.TCPConn), random, size, every, func() { f.still = w.look(&f) })
		f.begun, f.err = got > 0, err
	}
	f.to = time.Now()
	t := &w.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += 2 * got
	switch {
	case errors.Is(err, errCorrupt):
		t.corrupt = append(t.corrupt, f)
	case errors.Is(err, errEndless):
		t.endless = append(t.endless, f)
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		t.unable++
	case err != nil:
		t.failures = append(t.failures, f)
	case every > 0:
		t.tunnels++
	default:
		t.transfers++
	}
}

var (
	errCorrupt = errors.New("other bytes came back")
	errEndless = errors.New("the end of the stream did not come")
)

// exchange returns how many bytes came back. It calls still if none do for a
// while.
func (w *world) exchange(c *net.TCPConn, random *rand.Rand, size int64, every time.Duration, still func()) (int64, error) {
	c.SetDeadline(time.Time{})
	size += keySize
	key := [keySize]byte{}
	for i := range key {
		key[i] = byte(random.Uint32())
	}
	sent := sha256.New()
	written := make(chan error, 1)
	go func() {
		source := io.TeeReader(io.LimitReader(newStream(key), size), sent)
		buffer := make([]byte, 16<<10)
		if every > 0 {
			buffer = buffer[:8]
		}
		for {
			n, err := source.Read(buffer)
			if err != nil {
				written <- c.CloseWrite()
				return
			}
			c.SetWriteDeadline(time.Now().Add(silence))
			if _, err := c.Write(buffer[:n]); err != nil {
				written <- err
				return
			}
			time.Sleep(every)
		}
	}()
	received, got := sha256.New(), int64(0)
	check := new(checker)
	buffer := make([]byte, 64<<10)
	var err error
	for {
		c.SetReadDeadline(time.Now().Add(stillAfter))
		var n int
		n, err = c.Read(buffer)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			if still(); got == size {
				err = errEndless
				break
			}
			c.SetReadDeadline(time.Now().Add(silence))
			n, err = c.Read(buffer)
		}
		received.Write(buffer[:n])
		_, _ = check.Write(buffer[:n]) // cannot fail
		got += int64(n)
		if err != nil {
			break
		}
	}
	if err == io.EOF {
		err = nil
	}
	if err != nil {
		c.Close() // the writer ends
	}
	if other := <-written; err == nil {
		err = other
	}
	if err == nil && got < size {
		err = io.ErrUnexpectedEOF
	}
	if (err == nil || err == errEndless) && !slices.Equal(sent.Sum(nil), received.Sum(nil)) {
		err = fmt.Errorf("%w: %d of %d: %s", errCorrupt, got, size, check.describe(size))
	}
	return got, err
}
