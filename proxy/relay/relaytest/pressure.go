// SPDX-License-Identifier: Apache-2.0

package relaytest

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

const (
	// stalled is how long a write must block to show that the way is full. If
	// that is too short, less is held up: no test fails for it.
	stalled = 150 * time.Millisecond
	// bound is more than all the kernel's buffers on the way can hold.
	bound = 160 << 20
)

// push writes until the way to a receiver that does not read is full, and
// returns how many bytes that took.
func (s *sender) push() (int, error) {
	defer s.conn.SetWriteDeadline(time.Now().Add(patience))
	total := 0
	for total < bound {
		s.conn.SetWriteDeadline(time.Now().Add(stalled))
		n, err := s.once(len(s.buf))
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("push after %d bytes: %w", total, err)
		}
	}
	return total, fmt.Errorf("the relay took %d bytes that nobody read", total)
}

// more is how many bytes go on when reading does.
const more = 4 << 20

// backPressure stops reading: the sender must block, and nothing may be lost
// when reading goes on.
func (s *suite) backPressure(t *testing.T) {
	t.Run("one way", s.pressOneWay)
	t.Run("the other way flows", s.pressBesideFlow)
	t.Run("both ways", s.pressBothWays)
}

func (s *suite) pressOneWay(t *testing.T) {
	s.bySide(t, Request{}, func(t *testing.T, c *Conn, x side) {
		from, to := newSender(x.near, x.seed, chunk), newReceiver(x.far, x.seed, chunk)
		total := 0
		// Twice, because buffers have grown after the first time.
		for range 2 {
			n, err := from.push()
			if err != nil {
				t.Fatal(err)
			}
			total += n
			if err := both(
				func() error { return from.send(more) },
				func() error { return to.receive(total - to.got) },
			); err != nil {
				t.Fatal(err)
			}
			total += more
		}
		x.near.CloseWrite()
		if err := to.toEnd(total); err != nil {
			t.Fatal(err)
		}
		x.far.CloseWrite()
		c.ended(t, nil)
	})
}

func (s *suite) pressBesideFlow(t *testing.T) {
	s.bySide(t, Request{}, func(t *testing.T, c *Conn, x side) {
		from := newSender(x.near, x.seed, chunk)
		total, err := from.push()
		if err != nil {
			t.Fatal(err)
		}
		if err := both(
			func() error { return sendAll(x.far, x.back, more, chunk) },
			func() error { return newReceiver(x.near, x.back, chunk).toEnd(more) },
		); err != nil {
			t.Fatal(err)
		}
		x.near.CloseWrite()
		if err := newReceiver(x.far, x.seed, chunk).toEnd(total); err != nil {
			t.Fatal(err)
		}
		c.ended(t, nil)
	})
}

func (s *suite) pressBothWays(t *testing.T) {
	c := s.join(t, Request{})
	defer c.Close()
	sides := c.sides()
	var totals [2]int
	if err := both(
		func() (err error) { totals[0], err = newSender(c.Client, clientSeed, chunk).push(); return err },
		func() (err error) { totals[1], err = newSender(c.Server, serverSeed, chunk).push(); return err },
	); err != nil {
		t.Fatal(err)
	}
	for i, x := range sides {
		x.near.CloseWrite()
		if err := newReceiver(x.far, x.seed, chunk).toEnd(totals[i]); err != nil {
			t.Fatal(err)
		}
	}
	c.ended(t, nil)
}
