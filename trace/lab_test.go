// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair are the two ends of a connection between the client and the aggregator of
// a lab with two paths.
type pair struct {
	*lab.TwoPath
	at             netip.AddrPort
	listener       *net.TCPListener
	client, server *net.TCPConn
}

// connect opens a connection, the client over Wi-Fi.
func connect(t *testing.T, spec lab.TwoPathSpec, before func(*pair), o mptcp.ConnectOptions) *pair {
	t.Helper()
	p := &pair{TwoPath: labtest.TwoPath(t, spec)}
	p.at = netip.AddrPortFrom(p.AggregatorAddr.V4, 5001)
	if before != nil {
		before(p)
	}
	inside(t, p.Aggregator, func() (err error) {
		p.listener, err = mptcp.NewListener(p.at, mptcp.ListenOptions{Mode: mptcp.ModePrefer, FastOpen: 16})
		return err
	})
	t.Cleanup(func() { p.listener.Close() })
	p.dial(t, o)
	return p
}

func (p *pair) dial(t *testing.T, o mptcp.ConnectOptions) {
	t.Helper()
	inside(t, p.Client, func() error {
		d := mptcp.Dialer{ConnectOptions: o, Timeout: patience}
		c, err := d.DialContext(t.Context(), "tcp", p.at.String())
		if err == nil {
			p.client = c.TCPConn
		}
		return err
	})
	p.accept(t)
}

// accept takes the connection that the client has opened.
func (p *pair) accept(t *testing.T) {
	t.Helper()
	var err error
	if p.server, err = p.listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.TCPConn{p.client, p.server} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}

func inside(t *testing.T, h *lab.Host, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatal(err)
	}
}

// send sends random bytes from one end to the other.
func send(t *testing.T, from, to *net.TCPConn, n int64) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(from, rand.Reader, n)
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, to, n)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
}

// finish closes both ends in order.
func (p *pair) finish(t *testing.T) {
	t.Helper()
	for _, half := range [][2]*net.TCPConn{{p.client, p.server}, {p.server, p.client}} {
		if err := half[0].CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, half[1]); n != 0 || err != nil {
			t.Fatalf("%d bytes after the end, %v", n, err)
		}
	}
	p.client.Close()
	p.server.Close()
}

// analyzed is what was seen in a capture file.
type analyzed struct {
	connections []*trace.Connection
	counts      trace.Counts
}

func analyze(t *testing.T, file string) analyzed {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := packet.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all analyzed
	a := trace.New(trace.Defaults(), func(c *trace.Connection) { all.connections = append(all.connections, c) })
	var s packet.Segment
	for err = r.Next(&s); err == nil; err = r.Next(&s) {
		a.Segment(&s)
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	a.Close()
	all.counts = a.Counts()
	return all
}

// awaitConnections analyzes a capture until it shows the end of connections.
func awaitConnections(t *testing.T, c *capture.Capture, n int) (all analyzed) {
	t.Helper()
	labtest.Await(t, patience, "the end of connections in the capture", func() bool {
		all = analyze(t, c.File())
		ended := 0
		for _, c := range all.connections {
			if c.Ending != trace.StillOpen {
				ended++
			}
		}
		return ended >= n
	})
	return all
}
