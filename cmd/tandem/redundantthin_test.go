// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
	"github.com/tandem-gateway/tandem/bench/serving"
)

// thinCPE carries the same to a server redundantly and not.
const thinCPE = `
listeners:
  - {name: redundant, type: forward, listen: ["192.168.1.1:7001"], allow-from: [192.168.1.0/24], forward: {target: "203.0.113.80:7"}, upstream: redundant}
  - {name: ordinary, type: forward, listen: ["192.168.1.1:7002"], allow-from: [192.168.1.0/24], forward: {target: "203.0.113.80:7"}, upstream: ordinary}
upstreams:
  - {name: redundant, type: convert, servers: ["192.0.2.1:8803"], when-down: refuse, convert: {redundant: true}}
  - {name: ordinary, type: convert, servers: ["192.0.2.1:8803"], when-down: refuse}
`

const (
	thinMessages = 300
	thinEvery    = 10 * time.Millisecond
	thinLen      = 64
)

// TestRedundantThinStream sends small messages while both links change for the
// better and the worse in turns, redundantly and not. A redundant one arrives
// as early as the better link allows.
func TestRedundantThinStream(t *testing.T) {
	t.Parallel()
	link := lab.LinkSpec{Emulate: true, Delay: 10 * time.Millisecond}
	h := newRedundantHome(t, lab.HybridHomeSpec{DSL: link, LTE: link}, redundantAggregator, thinCPE)
	arrivals := make(chan thinStream, 2)
	receive(t, h.Server, "203.0.113.80:7", arrivals)

	ctx, cancel := context.WithCancel(t.Context())
	var changing sync.WaitGroup
	changing.Go(func() { worsen(t, ctx, h.DSL.Link, h.LTE.Link) })
	var sending sync.WaitGroup
	for i, name := range []string{"redundant", "ordinary"} {
		sending.Go(func() {
			if err := sendThin(h.Client, fmt.Sprintf("192.168.1.1:%d", 7001+i), byte(i)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	sending.Wait()
	var got [2]thinStream
	for range got {
		a := <-arrivals
		got[a.number] = a
	}
	cancel()
	changing.Wait()
	for i, name := range []string{"redundant", "ordinary"} {
		t.Logf("%s: %s", name, got[i].summary())
		if len(got[i].delays) != thinMessages || got[i].err != nil {
			t.Errorf("%s: %d of %d messages, %v", name, len(got[i].delays), thinMessages, got[i].err)
		}
	}
	if t.Failed() {
		return
	}
	// The tail is that of the start: a leg whose SYN is lost comes a second later.
	if r, o := got[0].quantile(.5), got[1].quantile(.5); r >= o {
		t.Errorf("half of the messages take up to %v redundantly, %v otherwise", r, o)
	}
}

// worsen makes one link after the other slow and lossy, in turns.
func worsen(t *testing.T, ctx context.Context, links ...*lab.Link) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		for i, l := range links {
			bad := i == turn%len(links)
			err := l.Change(emulator.Both, func(c *emulator.Conditions) {
				c.Delay, c.Loss = 10*time.Millisecond, emulator.RandomLoss(.01)
				if bad {
					c.Delay, c.Loss = 150*time.Millisecond, emulator.RandomLoss(.2)
				}
			})
			if err != nil {
				t.Error(err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// thinStream is how long the messages of a connection took.
type thinStream struct {
	number byte
	delays []time.Duration // sorted
	err    error
}

func (s thinStream) quantile(q float64) time.Duration {
	return s.delays[int(q*float64(len(s.delays)-1))]
}

func (s thinStream) summary() string {
	if len(s.delays) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for _, q := range []float64{.5, .95, .99, 1} {
		fmt.Fprintf(&b, "p%g %v ", 100*q, s.quantile(q).Round(100*time.Microsecond))
	}
	return b.String()
}

// began is what the times in messages count from.
var began = time.Now()

// sendThin sends messages that hold their time.
func sendThin(h *lab.Host, addr string, number byte) error {
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", addr, patience)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	tick := time.NewTicker(thinEvery)
	defer tick.Stop()
	for range thinMessages {
		message := make([]byte, thinLen)
		message[0] = number
		binary.BigEndian.PutUint64(message[1:], uint64(time.Since(began)))
		if _, err := c.Write(message); err != nil {
			return err
		}
		<-tick.C
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("instead of the end: %w", err)
	}
	return nil
}

// receive serves connections with such messages until the end of the test.
func receive(t *testing.T, h *lab.Host, addr string, arrivals chan<- thinStream) {
	t.Helper()
	t.Cleanup(serving.Start(listenOn(t, h, addr), func(c net.Conn) { arrivals <- receiveThin(c) }))
}

func receiveThin(c net.Conn) (s thinStream) {
	_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
	defer func() { slices.Sort(s.delays) }()
	for message := make([]byte, thinLen); ; {
		if _, err := io.ReadFull(c, message); err != nil {
			if err != io.EOF {
				s.err = err
			}
			return s
		}
		s.number = message[0]
		sent := time.Duration(binary.BigEndian.Uint64(message[1:]))
		s.delays = append(s.delays, time.Since(began)-sent)
	}
}
