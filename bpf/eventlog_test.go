// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// log reads events until they are closed.
type log struct {
	t      testing.TB
	events *Events

	mu   sync.Mutex
	seen []Event
}

// openEvents runs the programs until Close.
func openEvents(t testing.TB, o Options) *Programs {
	t.Helper()
	needPrograms(t)
	if err := mptcp.Supported(); err != nil {
		t.Skip(err)
	}
	o.Events = true
	p, err := Open(o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := p.Missing(); err != nil {
		t.Fatal(errors.Join(err, p.Close()))
	}
	return p
}

// watchAll runs the programs and logs all events until the end of the test.
func watchAll(t testing.TB) *log {
	t.Helper()
	p := openEvents(t, Options{})
	l := &log{t: t, events: p.Events()}
	var reading sync.WaitGroup
	reading.Go(l.read)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		reading.Wait()
		if t.Failed() {
			for _, e := range l.all() {
				t.Logf("%+v", e)
			}
		}
	})
	return l
}

func (l *log) read() {
	evs := make([]Event, 16)
	for {
		n, err := l.events.ReadAll(evs)
		l.mu.Lock()
		l.seen = append(l.seen, evs[:n]...)
		l.mu.Unlock()
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				l.t.Error(err)
			}
			return
		}
	}
}

func (l *log) all() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

// of returns the events of a kind of a connection.
func (l *log) of(token uint32, kind Kind) []Event {
	return slices.DeleteFunc(l.all(), func(e Event) bool { return e.Token != token || e.Kind != kind })
}

// await waits for n events of a kind and returns them.
func (l *log) await(token uint32, kind Kind, n int) []Event {
	l.t.Helper()
	var events []Event
	labtest.Await(l.t, patience, fmt.Sprintf("%d times %q of %08x", n, kind, token), func() bool {
		events = l.of(token, kind)
		return len(events) >= n
	})
	if len(events) != n {
		l.t.Fatalf("%d times %q, want %d", len(events), kind, n)
	}
	return events
}

// ends are both ends of an MPTCP connection.
type ends struct {
	client, server           *net.TCPConn
	clientToken, serverToken uint32
}

// connectIn makes a connection from one host to another, and has it fully
// established, so that subflows may join.
func connectIn(t *testing.T, from, to *lab.Host, addr netip.Addr) *ends {
	t.Helper()
	var ln *net.TCPListener
	var c *mptcp.Conn
	o := mptcp.ListenOptions{Mode: mptcp.ModeRequire}
	inside(t, to, func() {
		var err error
		if ln, err = mptcp.NewListener(netip.AddrPortFrom(addr, 0), o); err != nil {
			t.Fatal(err)
		}
	})
	// A subflow can join only as long as somebody listens.
	t.Cleanup(func() { ln.Close() })
	inside(t, from, func() {
		var err error
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		if c, err = d.DialContext(t.Context(), "tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { c.Close() })
	s, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	e := &ends{client: c.TCPConn, server: s, clientToken: token(t, c.TCPConn), serverToken: token(t, s)}
	e.move(t, e.client, e.server, 1)
	e.move(t, e.server, e.client, 1)
	return e
}

// move sends n bytes and returns when they have been read.
func (e *ends) move(t testing.TB, from, to *net.TCPConn, n int64) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(make([]byte, n))
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, to, n)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
}

func token(t testing.TB, c *net.TCPConn) (token uint32) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		var info mptcp.Info
		if info, err = mptcp.InfoOf(int(fd)); err == nil {
			token = info.Token
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}
