// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var chaosSeed = flag.Uint64("redundant.seed", 0, "seed of TestChaos, to repeat its choices; 0 is a random one")

const (
	chaosStreams = 4
	chaosMost    = 1 << 20 // bytes of a direction of one of them
	// chaosMemory is less than what all directions could use.
	chaosMemory = 1 << 20
	chaosLegs   = 3
)

// TestChaos: whatever happens to legs, every byte of both directions arrives
// once and in order, and no more memory is lent than there is. Legs join and die
// at any time, are cut in the middle of frames, and delay what they carry, each
// in its own way, so that copies arrive in any order.
func TestChaos(t *testing.T) {
	for range 3 {
		seed := *chaosSeed
		if seed == 0 {
			seed = rand.Uint64()
		}
		chaos(t, seed)
		if t.Failed() {
			t.Fatalf("choices as with -redundant.seed=%d", seed)
		}
	}
}

func chaos(t *testing.T, seed uint64) {
	var hubs [2]*Hub
	for i := range hubs {
		hubs[i] = newHub(t, Config{Memory: chaosMemory, MaxLegs: 2 * chaosLegs})
	}
	over := make(chan struct{})
	var watching, carrying sync.WaitGroup
	watching.Go(func() {
		for {
			for _, h := range hubs {
				if n := h.Stats(); n.Memory > chaosMemory || n.Legs > 2*chaosLegs*chaosStreams {
					t.Errorf("bounds exceeded: %+v", n)
					return
				}
			}
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	for i := range uint64(chaosStreams) {
		carrying.Go(func() {
			key := Key{"chaos", NewID()}
			a, b := owner(t, hubs[0], key), owner(t, hubs[1], key)
			stop := make(chan struct{})
			var trouble sync.WaitGroup
			trouble.Go(func() { disturb(t, rand.New(rand.NewPCG(seed, i)), a, b, stop) })
			r := rand.New(rand.NewPCG(seed, chaosStreams+i))
			converse(t, a, b, random(r.IntN(chaosMost)), random(r.IntN(chaosMost)))
			close(stop)
			trouble.Wait()
		})
	}
	carrying.Wait()
	close(over)
	watching.Wait()
	leavesNothing(t, hubs[:]...)
}

// disturb has legs join and die until both ends have come to their end. The one
// that comes to it first tells late legs what it knows.
func disturb(t *testing.T, r *rand.Rand, a, b *end, stop <-chan struct{}) {
	var lines []*line
	defer func() {
		for _, l := range lines {
			l.cut(false)
		}
	}()
	for {
		switch {
		case len(lines) == 0, len(lines) < chaosLegs && r.IntN(2) == 0:
			if l := newLine(t, r, a.stream, b.stream); l != nil {
				lines = append(lines, l)
			}
		default:
			i := r.IntN(len(lines))
			lines[i].cut(r.IntN(2) == 0)
			lines = append(lines[:i], lines[i+1:]...)
		}
		for _, e := range [][2]*end{{a, b}, {b, a}} {
			select {
			case <-e[0].stream.Done():
				lateLeg(t, e[0], e[1])
			default:
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(20)) * time.Millisecond):
		}
	}
}

// line is a leg with something in the middle that delays and cuts.
type line struct {
	ends    [2]*net.TCPConn
	running sync.WaitGroup
}

// newLine is nil when a stream has ended.
func newLine(t *testing.T, r *rand.Rand, a, b *Stream) *line {
	t.Helper()
	l := new(line)
	for i, s := range []*Stream{a, b} {
		fd, middle := sockets(t)
		l.ends[i] = connOf(t, middle)
		if _, err := s.Join(fd, LegOptions{}); err != nil {
			unix.Close(fd)
			l.cut(false)
			return nil
		}
	}
	slowest := time.Duration(r.IntN(4)) * time.Millisecond
	for i := range l.ends {
		own := rand.New(rand.NewPCG(r.Uint64(), 0))
		l.running.Go(func() { pass(own, l.ends[i], l.ends[1-i], slowest) })
	}
	return l
}

// pass carries bytes in pieces of any size, each after a delay of its own.
func pass(r *rand.Rand, from, to *net.TCPConn, slowest time.Duration) {
	b := make([]byte, 48<<10)
	for {
		n, err := from.Read(b[:1+r.IntN(len(b))])
		if slowest > 0 {
			time.Sleep(time.Duration(r.Int64N(int64(slowest))))
		}
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			if errors.Is(err, io.EOF) {
				_ = to.CloseWrite()
			}
			return
		}
	}
}

// cut ends the leg, by a reset or in order, and loses what is under way.
func (l *line) cut(reset bool) {
	for _, c := range l.ends {
		if c != nil && reset {
			_ = c.SetLinger(0)
		}
		if c != nil {
			c.Close()
		}
	}
	l.running.Wait()
}

// lateLeg has a leg of one end meet the last words of the other, if that is gone.
func lateLeg(t *testing.T, over, other *end) {
	_, isNew, err := over.hub.Find(over.stream.key, 0)
	var ended *EndedError
	if !errors.As(err, &ended) {
		if isNew {
			t.Error("the stream has begun again")
		}
		return
	}
	fa, fb := sockets(t)
	if _, err := other.stream.Join(fb, LegOptions{}); err != nil {
		unix.Close(fb)
	}
	_, _ = unix.Write(fa, ended.Last)
	_ = unix.Shutdown(fa, unix.SHUT_WR)
	for b := make([]byte, 100); ; {
		if n, err := unix.Read(fa, b); n <= 0 && err != unix.EINTR {
			break
		}
	}
	unix.Close(fa)
}

// TestCrowd: many streams with bulk in both directions share memory that is too
// little for all of them, and none waits for ever for another one.
func TestCrowd(t *testing.T) {
	const memory = 8 * chunkLen
	var hubs [2]*Hub
	for i := range hubs {
		hubs[i] = newHub(t, Config{Memory: memory})
	}
	var carrying sync.WaitGroup
	for i := range 24 {
		carrying.Go(func() {
			key := Key{"crowd", NewID()}
			a, b := owner(t, hubs[0], key), owner(t, hubs[1], key)
			join(t, a.stream, b.stream)
			converse(t, a, b, random(300_000+i), random(300_100+i))
		})
	}
	carrying.Wait()
	leavesNothing(t, hubs[:]...)
}
