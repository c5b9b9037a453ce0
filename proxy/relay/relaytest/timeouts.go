// SPDX-License-Identifier: Apache-2.0

package relaytest

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/proxy/relay"
)

const (
	soon  = 250 * time.Millisecond
	never = time.Hour
)

// idleTimeout leaves a connection alone.
func (s *suite) idleTimeout(t *testing.T) {
	r := Request{Timeouts: relay.Timeouts{Idle: soon, HalfClosed: never}}
	t.Run("fresh", func(t *testing.T) {
		c := s.join(t, r)
		defer c.Close()
		s.timedOut(t, c, relay.ErrIdle)
	})
	t.Run("used", func(t *testing.T) {
		// Long enough for a byte to arrive, also on a busy machine.
		c := s.join(t, Request{Timeouts: relay.Timeouts{Idle: 4 * soon, HalfClosed: never}})
		defer c.Close()
		err := errors.Join(newSender(c.Client, clientSeed, 1).send(1), newReceiver(c.Server, clientSeed, 1).receive(1))
		if err != nil {
			t.Fatal(err)
		}
		s.timedOut(t, c, relay.ErrIdle)
	})
	t.Run("with bytes held up", func(t *testing.T) {
		s.bySide(t, Request{Timeouts: relay.Timeouts{Idle: 2 * stalled}}, func(t *testing.T, c *Conn, x side) {
			if _, err := newSender(x.near, x.seed, chunk).push(); err != nil && !isReset(err) {
				t.Fatal(err)
			}
			c.ended(t, relay.ErrIdle)
		})
	})
}

// halfClosedTimeout leaves a connection alone once one side has ended its
// stream.
func (s *suite) halfClosedTimeout(t *testing.T) {
	for _, tc := range []struct {
		name     string
		timeouts relay.Timeouts
		want     error
	}{
		{"shorter than idle", relay.Timeouts{Idle: never, HalfClosed: soon}, relay.ErrHalfClosed},
		{"without idle", relay.Timeouts{HalfClosed: soon}, relay.ErrHalfClosed},
		{"longer than idle", relay.Timeouts{Idle: soon, HalfClosed: never}, relay.ErrIdle},
		{"none", relay.Timeouts{Idle: soon}, relay.ErrIdle},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.bySide(t, Request{Timeouts: tc.timeouts}, func(t *testing.T, c *Conn, x side) {
				x.near.CloseWrite()
				s.timedOut(t, c, tc.want)
			})
		})
	}
}

// timedOut expects both ends to be reset.
func (s *suite) timedOut(t *testing.T, c *Conn, reason error) {
	t.Helper()
	if err := errors.Join(awaitReset(c.Client), awaitReset(c.Server)); err != nil {
		t.Fatal(err)
	}
	c.ended(t, reason)
}

// activity keeps a connection busy with little for longer than its time-outs.
func (s *suite) activity(t *testing.T) {
	const limit = time.Second
	for _, half := range []bool{false, true} {
		timeouts, name := relay.Timeouts{Idle: limit, HalfClosed: never}, "idle"
		if half {
			timeouts, name = relay.Timeouts{Idle: never, HalfClosed: limit}, "half-closed"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.bySide(t, Request{Timeouts: timeouts}, func(t *testing.T, c *Conn, x side) {
				if half {
					x.far.CloseWrite()
				}
				from, to := newSender(x.near, x.seed, 1), newReceiver(x.far, x.seed, 1)
				tick := time.NewTicker(limit / 50)
				defer tick.Stop()
				start := time.Now()
				for last := start; last.Sub(start) < limit+limit/4; <-tick.C {
					err := errors.Join(from.send(1), to.receive(1))
					pause := time.Since(last)
					switch {
					case err != nil && pause > limit/2:
						t.Skipf("the machine paused for %v: %v", pause, err) // which Messages tells from a relay that does
					case err != nil:
						t.Fatal(err)
					}
					last = last.Add(pause)
				}
			})
		})
	}
}

// abort ends connections from inside of the relay.
func (s *suite) abort(t *testing.T) {
	reason := errors.New("told to")
	for _, held := range []bool{false, true} {
		name := "idle"
		if held {
			name = "with bytes held up"
		}
		t.Run(name, func(t *testing.T) {
			c := s.join(t, Request{})
			defer c.Close()
			if c.Abort == nil {
				t.Skip("this relay cannot be told to end a connection")
			}
			if held {
				if _, err := newSender(c.Client, clientSeed, chunk).push(); err != nil {
					t.Fatal(err)
				}
			}
			c.Abort(reason)
			s.timedOut(t, c, reason)
		})
	}
}
