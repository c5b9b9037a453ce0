// SPDX-License-Identifier: Apache-2.0

// Package relaytest is a conformance suite for relays: whatever joins a
// client's TCP or MPTCP connection to one of a server.
//
// Run takes a Joiner and holds what it joins to the behaviour of a wire: every
// byte arrives once and in order, ends of streams and resets arrive too, on
// their own and under back-pressure, and time-outs end what is idle.
package relaytest

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// patience bounds everything that a relay has to do at once, on a machine that
// has other things to do.
const patience = time.Minute

// Transport is the protocol of one leg.
type Transport uint8

// The transports.
const (
	TCP Transport = iota
	MPTCP
)

// String returns "TCP" or "MPTCP".
func (t Transport) String() string {
	if t == MPTCP {
		return "MPTCP"
	}
	return "TCP"
}

// Mode is how to listen and to dial for the transport.
func (t Transport) Mode() mptcp.Mode {
	if t == MPTCP {
		return mptcp.ModeRequire
	}
	return mptcp.ModeOff
}

// Legs are the transports on both sides of a relay.
type Legs struct{ Client, Server Transport }

// String returns for example "MPTCP to TCP".
func (l Legs) String() string { return fmt.Sprintf("%v to %v", l.Client, l.Server) }

// AllLegs are all pairs of transports.
var AllLegs = []Legs{{TCP, TCP}, {MPTCP, TCP}, {TCP, MPTCP}, {MPTCP, MPTCP}}

// Request is what a test wants joined.
type Request struct {
	Legs Legs
	// Timeouts of the relayed connection.
	Timeouts relay.Timeouts
	// Early is what the client has sent before the relay began and that the
	// relay got by another way than by reading from it: after a handshake in
	// the same segment, for example. Late is the same of the server. Each is
	// at most 256 KiB.
	Early, Late []byte
}

// Conn is a relayed connection: what is written to one end arrives at the
// other. The test closes the ends.
type Conn struct {
	Client, Server *net.TCPConn
	// Ended receives once why the relay ended: nil if both streams did. A
	// relay that cannot tell leaves it nil.
	Ended <-chan error
	// Abort ends the connection inside of the relay. A relay that cannot do
	// that leaves it nil.
	Abort func(error)
}

// Joiner makes relayed connections. Join returns an error that wraps
// errors.ErrUnsupported where the relay cannot do what is asked; the test is
// skipped then. Join may be called from several goroutines.
type Joiner interface {
	Join(Request) (*Conn, error)
}

// Limits bounds the suite from a TestMain, unless its flags say otherwise on
// the command line: how many cases each property is tried on (-rapid.checks),
// and how many tests run at once (-parallel). Most of them wait most of the
// time, so that there may be more than processors.
func Limits(cases, parallel int) {
	for name, value := range map[string]int{"rapid.checks": cases, "test.parallel": parallel} {
		if err := flag.Set(name, strconv.Itoa(value)); err != nil {
			panic(err)
		}
	}
}

// Run runs the suite over the given pairs of transports, without any over all
// of them. The tests run in parallel.
func Run(t *testing.T, j Joiner, over ...Legs) {
	if len(over) == 0 {
		over = AllLegs
	}
	for _, legs := range over {
		t.Run(legs.String(), func(t *testing.T) {
			t.Parallel()
			if legs != (Legs{TCP, TCP}) {
				if err := mptcp.Supported(); err != nil {
					t.Skip(err)
				}
			}
			s := &suite{joiner: j, legs: legs}
			for _, test := range []struct {
				name string
				run  func(*testing.T)
			}{
				{"Bulk", s.bulk},
				{"Ahead", s.ahead},
				{"Messages", s.messages},
				{"Empty", s.empty},
				{"HalfClose", s.halfClose},
				{"SimultaneousClose", s.simultaneousClose},
				{"RandomStreams", s.randomStreams},
				{"Reset", s.reset},
				{"RandomResets", s.randomResets},
				{"BackPressure", s.backPressure},
				{"IdleTimeout", s.idleTimeout},
				{"HalfClosedTimeout", s.halfClosedTimeout},
				{"ActivityDefersTimeouts", s.activity},
				{"Abort", s.abort},
			} {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t)
				})
			}
		})
	}
}

// suite runs the tests over one pair of transports.
type suite struct {
	joiner Joiner
	legs   Legs
}

// tb is what *testing.T and *rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Skip(args ...any)
}

// join makes a connection that the caller closes, and makes sure that its legs
// are what they should be.
func (s *suite) join(t tb, r Request) *Conn {
	t.Helper()
	r.Legs = s.legs
	c, err := s.joiner.Join(r)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("join %v: %v", s.legs, err)
	}
	c.extend()
	for _, end := range []struct {
		name      string
		conn      *net.TCPConn
		transport Transport
	}{{"client", c.Client, s.legs.Client}, {"server", c.Server, s.legs.Server}} {
		if r.Timeouts != (relay.Timeouts{}) {
			continue // it may have ended by now
		}
		status, err := mptcp.StatusOf(end.conn)
		if err != nil || status.MPTCP != (end.transport == MPTCP) {
			c.Close()
			t.Fatalf("leg to the %s: %+v, %v; want %v", end.name, status, err, end.transport)
		}
	}
	return c
}

// extend gives the ends new deadlines.
func (c *Conn) extend() {
	deadline := time.Now().Add(patience)
	c.Client.SetDeadline(deadline)
	c.Server.SetDeadline(deadline)
}

// supports reports whether the relay can do what is asked.
func (s *suite) supports(t *testing.T, r Request) bool {
	t.Helper()
	r.Legs = s.legs
	c, err := s.joiner.Join(r)
	if err == nil {
		c.Close()
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	return err == nil
}

// Close closes both ends.
func (c *Conn) Close() {
	c.Client.Close()
	c.Server.Close()
}

// ended waits for the end of the relay and checks that its reason is one of
// those wanted.
func (c *Conn) ended(t tb, want ...error) {
	t.Helper()
	if c.Ended == nil {
		return
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case err := <-c.Ended:
		if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
			t.Fatalf("the relay ended with %v, want %v", err, want)
		}
	case <-timeout.C:
		t.Fatalf("the relay has not ended, want %v", want)
	}
}

// side is one end of a connection as seen from a test that does the same to
// either.
type side struct {
	name       string
	near, far  *net.TCPConn
	seed, back uint64 // of the streams from near and from far
}

func (c *Conn) sides() [2]side {
	return [2]side{
		{"client", c.Client, c.Server, clientSeed, serverSeed},
		{"server", c.Server, c.Client, serverSeed, clientSeed},
	}
}

// bySide runs a test twice, with either end in the role of near.
func (s *suite) bySide(t *testing.T, r Request, test func(t *testing.T, c *Conn, x side)) {
	for i, name := range [2]string{"client", "server"} {
		t.Run(name, func(t *testing.T) {
			c := s.join(t, r)
			defer c.Close()
			test(t, c, c.sides()[i])
		})
	}
}
