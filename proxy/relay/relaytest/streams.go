// SPDX-License-Identifier: Apache-2.0

package relaytest

import (
	"fmt"
	"net"
	"testing"

	"pgregory.net/rapid"
)

const (
	chunk    = 64 << 10
	bulkSize = 24 << 20
)

// exchange sends a stream each way at the same time, ends both, and expects
// both to arrive whole.
func exchange(c *Conn, up, down int) error {
	return both(
		func() error {
			return both(
				func() error { return sendAll(c.Client, clientSeed, up, chunk) },
				func() error { return newReceiver(c.Client, serverSeed, chunk).toEnd(down) })
		}, func() error {
			return both(
				func() error { return sendAll(c.Server, serverSeed, down, chunk) },
				func() error { return newReceiver(c.Server, clientSeed, chunk).toEnd(up) })
		})
}

// sendAll sends a stream of n bytes and ends it.
func sendAll(c *net.TCPConn, seed uint64, n, chunk int) error {
	if err := newSender(c, seed, chunk).send(n); err != nil {
		return err
	}
	return c.CloseWrite()
}

// bulk moves much in one direction, then in both at once.
func (s *suite) bulk(t *testing.T) {
	for _, sizes := range [][2]int{{bulkSize, 0}, {0, bulkSize}, {bulkSize, bulkSize + 1}} {
		t.Run(fmt.Sprintf("%d up %d down", sizes[0], sizes[1]), func(t *testing.T) {
			c := s.join(t, Request{})
			defer c.Close()
			if err := exchange(c, sizes[0], sizes[1]); err != nil {
				t.Fatal(err)
			}
			c.ended(t, nil)
		})
	}
}

// ahead starts with bytes that were read before the relay began.
func (s *suite) ahead(t *testing.T) {
	for _, sizes := range [][2]int{{1, 0}, {0, 1}, {5000, 70000}, {256 << 10, 256 << 10}} {
		t.Run(fmt.Sprintf("%d early %d late", sizes[0], sizes[1]), func(t *testing.T) {
			c := s.join(t, Request{Early: head(clientSeed, sizes[0]), Late: head(serverSeed, sizes[1])})
			defer c.Close()
			const more = 100_000
			for i, x := range c.sides() {
				err := both(func() error {
					sender := newSender(x.near, x.seed, chunk)
					sender.skip(sizes[i])
					if err := sender.send(more); err != nil {
						return err
					}
					return x.near.CloseWrite()
				}, func() error {
					return newReceiver(x.far, x.seed, chunk).toEnd(sizes[i] + more)
				})
				if err != nil {
					t.Fatalf("from the %s: %v", x.name, err)
				}
			}
			c.ended(t, nil)
		})
	}
}

// messages goes to and fro: what is sent must arrive without more to push it.
func (s *suite) messages(t *testing.T) {
	c := s.join(t, Request{})
	defer c.Close()
	sides := c.sides()
	var send [2]*sender
	var receive [2]*receiver
	for i, x := range sides {
		send[i], receive[i] = newSender(x.near, x.seed, chunk), newReceiver(x.far, x.seed, chunk)
	}
	for round := range 80 {
		c.extend()
		for i, x := range sides {
			// From one byte to what fills several reads of the relay, in turn.
			n := 1 + round*round*round%500_000
			err := both(func() error { return send[i].send(n) }, func() error { return receive[i].receive(n) })
			if err != nil {
				t.Fatalf("message %d of %d bytes from the %s: %v", round, n, x.name, err)
			}
		}
	}
	c.Client.CloseWrite()
	c.Server.CloseWrite()
	c.ended(t, nil)
}

// empty ends streams that never carried a byte.
func (s *suite) empty(t *testing.T) {
	s.bySide(t, Request{}, func(t *testing.T, c *Conn, x side) {
		for _, from := range []struct{ near, far *net.TCPConn }{{x.near, x.far}, {x.far, x.near}} {
			from.near.CloseWrite()
			if err := newReceiver(from.far, x.seed, 1).toEnd(0); err != nil {
				t.Fatal(err)
			}
		}
		c.ended(t, nil)
	})
}

// halfClose ends one stream and then uses the other for long.
func (s *suite) halfClose(t *testing.T) {
	s.bySide(t, Request{}, func(t *testing.T, c *Conn, x side) {
		const question, answer = 1000, 8 << 20
		if err := sendAll(x.near, x.seed, question, chunk); err != nil {
			t.Fatal(err)
		}
		if err := newReceiver(x.far, x.seed, chunk).toEnd(question); err != nil {
			t.Fatal(err)
		}
		err := both(
			func() error { return sendAll(x.far, x.back, answer, chunk) },
			func() error { return newReceiver(x.near, x.back, chunk).toEnd(answer) })
		if err != nil {
			t.Fatal(err)
		}
		c.ended(t, nil)
	})
}

// simultaneousClose closes both ends at once, with all bytes of one direction
// under way.
func (s *suite) simultaneousClose(t *testing.T) {
	for range 20 {
		c := s.join(t, Request{})
		err := both(
			func() error { return sendAll(c.Client, clientSeed, 10_000, chunk) },
			func() error { return c.Server.CloseWrite() })
		if err == nil {
			err = both(
				func() error { return newReceiver(c.Server, clientSeed, chunk).toEnd(10_000) },
				func() error { return newReceiver(c.Client, serverSeed, chunk).toEnd(0) })
		}
		if err != nil {
			t.Fatal(err)
		}
		c.ended(t, nil)
		c.Close()
	}
}

// plan is how one end behaves.
type plan struct {
	size  int  // bytes to send
	chunk int  // of its writes
	read  int  // largest read
	after bool // ends its stream only after the other one has ended
	ahead int  // bytes the relay has beforehand
}

// sizes has the edges of the relay's buffers among others.
func sizes() *rapid.Generator[int] {
	return rapid.OneOf(
		rapid.SampledFrom([]int{0, 1, 16<<10 - 1, 16 << 10, 16<<10 + 1, 256 << 10, 256<<10 + 1, 1 << 20, 1<<20 + 1}),
		rapid.IntRange(0, 100_000), rapid.IntRange(0, 1<<20), rapid.IntRange(0, 6<<20))
}

func drawPlan(t *rapid.T, name string, after, ahead bool) plan {
	p := plan{
		size:  sizes().Draw(t, name+" sends"),
		chunk: rapid.SampledFrom([]int{1500, 16 << 10, 100_000, 1 << 20}).Draw(t, name+" writes at once"),
		read:  rapid.SampledFrom([]int{1000, 16 << 10, 1 << 20}).Draw(t, name+" reads at once"),
		after: after,
	}
	if ahead {
		p.ahead = rapid.SampledFrom([]int{0, 0, 1, 1000, 256 << 10}).Draw(t, name+" was read ahead")
	}
	return p
}

// follow sends, receives and ends the stream of x as planned.
func (p *plan) follow(x side, peer *plan) error {
	received := make(chan struct{})
	return both(func() error {
		s := newSender(x.near, x.seed, p.chunk)
		s.skip(p.ahead)
		if err := s.send(p.size); err != nil {
			return err
		}
		if p.after {
			<-received
		}
		return x.near.CloseWrite()
	}, func() error {
		defer close(received)
		return newReceiver(x.near, x.back, p.read).toEnd(peer.ahead + peer.size)
	})
}

// randomStreams sends random sizes in random pieces both ways and ends the
// streams in any order.
func (s *suite) randomStreams(t *testing.T) {
	early, late := s.supports(t, Request{Early: []byte{0}}), s.supports(t, Request{Late: []byte{0}})
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.SampledFrom([]string{"any", "client first", "server first"}).Draw(t, "order of ends")
		client := drawPlan(t, "client", order == "server first", early)
		server := drawPlan(t, "server", order == "client first", late)
		c := s.join(t, Request{Early: head(clientSeed, client.ahead), Late: head(serverSeed, server.ahead)})
		defer c.Close()
		sides := c.sides()
		err := both(
			func() error { return client.follow(sides[0], &server) },
			func() error { return server.follow(sides[1], &client) })
		if err != nil {
			t.Fatalf("%v", err)
		}
		c.ended(t, nil)
	})
}
