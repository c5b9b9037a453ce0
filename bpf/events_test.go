// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestLifeOfConnection(t *testing.T) {
	l := watchAll(t)
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	for name, pick := range map[string]func(lab.Dual) netip.Addr{
		"IPv4": func(d lab.Dual) netip.Addr { return d.V4 },
		"IPv6": func(d lab.Dual) netip.Addr { return d.V6 },
	} {
		t.Run(name, func(t *testing.T) {
			wifi, cell := pick(tp.WiFi.Addr), pick(tp.Cell.Addr)
			e := connectIn(t, tp.Client, tp.Aggregator, pick(tp.AggregatorAddr))
			to := e.client.RemoteAddr().(*net.TCPAddr).AddrPort()

			mine := l.await(e.clientToken, Established, 1)[0]
			if mine.Passive || mine.Subflow != 1 || mine.Local.Addr() != wifi || mine.Remote != to || mine.Time == 0 {
				t.Errorf("client: %+v", mine)
			}
			theirs := l.await(e.serverToken, Established, 1)[0]
			if !theirs.Passive || theirs.Subflow != 1 || theirs.Local != mine.Remote || theirs.Remote != mine.Local {
				t.Errorf("server: %+v", theirs)
			}
			join := l.await(e.clientToken, Joined, 1)[0]
			if join.Passive || join.Subflow != 2 || join.Local.Addr() != cell || join.Remote != to || join.LocalID <= 0 || join.Backup {
				t.Errorf("client joins: %+v", join)
			}
			joined := l.await(e.serverToken, Joined, 1)[0]
			if !joined.Passive || joined.Subflow != 2 || joined.Remote != join.Local || int16(joined.RemoteID) != join.LocalID {
				t.Errorf("server is joined: %+v", joined)
			}

			const size = 1 << 20
			e.move(t, e.client, e.server, size)
			e.client.Close()
			e.server.Close()
			for _, token := range []uint32{e.clientToken, e.serverToken} {
				var sent, received uint64
				for _, c := range l.await(token, SubflowClosed, 2) {
					if c.Reason != FIN || c.Error != 0 || c.SRTT == 0 {
						t.Errorf("%+v", c)
					}
					sent += c.BytesSent
					received += c.BytesReceived
				}
				l.await(token, Closed, 1)
				if token == e.clientToken && sent < size || token == e.serverToken && received < size {
					t.Errorf("%08x: %d bytes sent, %d received of %d", token, sent, received, size)
				}
			}
		})
	}
	if n := l.events.Lost(); n != 0 {
		t.Errorf("%d events lost", n)
	}
}

func TestSubflowReset(t *testing.T) {
	l := watchAll(t)
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	l.await(e.clientToken, Joined, 1)
	l.await(e.serverToken, Joined, 1)
	e.server.SetLinger(0)
	e.server.Close()
	for _, c := range l.await(e.serverToken, SubflowClosed, 2) {
		if c.Reason != ResetSent {
			t.Errorf("server: %+v", c)
		}
	}
	for _, c := range l.await(e.clientToken, SubflowClosed, 2) {
		if c.Reason != ResetReceived || c.Error != syscall.ECONNRESET {
			t.Errorf("client: %+v", c)
		}
	}
	l.await(e.serverToken, Closed, 1)
	l.await(e.clientToken, Closed, 1) // told to by a fast close
}

// TestConnectionOutlivesSubflows cuts both paths: the kernel keeps the
// connection for a while.
func TestConnectionOutlivesSubflows(t *testing.T) {
	l := watchAll(t)
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	if err := tp.Client.Sysctl("net.mptcp.close_timeout", "1"); err != nil {
		t.Fatal(err)
	}
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	l.await(e.clientToken, Joined, 1)
	filter(t, tp.Aggregator, "input", "meta l4proto tcp reject with tcp reset")
	if _, err := e.client.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	var last Event
	for _, c := range l.await(e.clientToken, SubflowClosed, 2) {
		if c.Reason != ResetReceived {
			t.Errorf("%+v", c)
		}
		last = c
	}
	if end := l.await(e.clientToken, Closed, 1)[0]; end.Time <= last.Time {
		t.Errorf("connection closed at %v, its last subflow at %v", end.Time, last.Time)
	}
}

// filter adds a rule for packets that come to, or from, programs on the host.
func filter(t *testing.T, h *lab.Host, hook, rule string) {
	t.Helper()
	nft := h.Command(t.Context(), "nft", fmt.Sprintf(
		"add table inet t; add chain inet t %[1]s { type filter hook %[1]s priority 0; }; add rule inet t %[1]s %[2]s", hook, rule))
	if _, err := nft.Output(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs nft")
	} else if err != nil {
		t.Fatal(err)
	}
}

func TestJoinFails(t *testing.T) {
	for _, tt := range []struct {
		verdict string
		reason  Reason
		errno   syscall.Errno
	}{
		{"reject with tcp reset", ResetReceived, syscall.ECONNREFUSED},
		{"drop", Timeout, syscall.ETIMEDOUT},
	} {
		t.Run(tt.verdict, func(t *testing.T) {
			l := watchAll(t)
			tp := labtest.TwoPath(t, lab.TwoPathSpec{})
			if err := tp.Client.Sysctl("net.ipv4.tcp_syn_retries", "1"); err != nil {
				t.Fatal(err)
			}
			filter(t, tp.Aggregator, "input", "iifname cell tcp flags syn "+tt.verdict)
			e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
			failed := l.await(e.clientToken, JoinFailed, 1)[0]
			if failed.Reason != tt.reason || failed.Error != tt.errno || failed.Local.Addr() != tp.Cell.Addr.V4 || failed.Subflow != 2 {
				t.Errorf("%+v", failed)
			}
			if n := len(l.of(e.clientToken, Joined)) + len(l.of(e.clientToken, SubflowClosed)); n != 0 {
				t.Errorf("%d other events", n)
			}
		})
	}
}

// TestFlood has more happen than the ring holds while nobody reads.
func TestFlood(t *testing.T) {
	p := openEvents(t, Options{EventRing: 1})
	closed := sync.OnceFunc(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	defer closed()
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModeRequire)
	const connections = 100
	for range connections {
		connect(t, to, mptcp.ModeRequire)
	}
	// The passive end is established when the third packet has come.
	events := p.Events()
	var told, gaps uint64
	var last Kind
	labtest.Await(t, patience, "both ends of all connections", func() bool {
		for events.reader.AvailableBytes() > 0 || events.held || events.Lost() > events.told {
			var e Event
			if err := one(events, &e); err != nil {
				t.Fatal(err)
			}
			switch e.Kind {
			case Established:
				told++
			case Gap:
				gaps += e.Lost
			default:
				t.Fatalf("%+v", e)
			}
			last = e.Kind
		}
		return told+gaps >= 2*connections
	})
	if told+gaps != 2*connections || gaps == 0 || told == 0 || gaps != events.Lost() {
		t.Errorf("%d events, %d in gaps, %d lost of %d", told, gaps, events.Lost(), 2*connections)
	}
	if last != Gap {
		t.Errorf("the last was told as %q, want a gap", last)
	}
	// It goes on afterwards.
	connect(t, to, mptcp.ModeRequire)
	var e Event
	if err := one(events, &e); err != nil || e.Kind != Established {
		t.Errorf("%+v, %v", e, err)
	}
	closed()
	if err := one(events, &e); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

// one reads a single event.
func one(events *Events, e *Event) error {
	var evs [1]Event
	_, err := events.ReadAll(evs[:])
	*e = evs[0]
	return err
}

// TestGapIsInItsPlace: events that came after a loss are told after the gap.
func TestGapIsInItsPlace(t *testing.T) {
	p := openEvents(t, Options{EventRing: 1})
	defer p.Close()
	events := p.Events()
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModeRequire)
	labtest.Await(t, patience, "a full ring", func() bool {
		connect(t, to, mptcp.ModeRequire)
		return events.Lost() > 0
	})
	var e Event
	for range 10 { // makes room
		if err := one(events, &e); err != nil || e.Kind != Established {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	port := connect(t, to, mptcp.ModeRequire)
	gap := false
	for e.Local.Port() != port {
		if err := one(events, &e); err != nil {
			t.Fatal(err)
		}
		gap = gap || e.Kind == Gap
	}
	if !gap {
		t.Error("no gap before an event that came after a loss")
	}
}

// TestOtherProcesses: what happens outside of the cgroup is not told.
func TestOtherProcesses(t *testing.T) {
	needPrograms(t)
	other, stdin, lines := child(t, "talk", nil)
	line(t, lines) // it is in this cgroup, and waits
	l := watchAll(t)
	stdin.Close()
	if got := line(t, lines); got != "talked" {
		t.Errorf("child said %q", got)
	}
	other.Wait()
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModeRequire)
	port := connect(t, to, mptcp.ModeRequire)
	labtest.Await(t, patience, "the connection of this process", func() bool {
		return slices.ContainsFunc(l.all(), func(e Event) bool { return e.Local.Port() == port })
	})
	for _, e := range l.all() {
		if e.Remote != to && e.Local != to {
			t.Errorf("%+v", e)
		}
	}
}

// TestUrgent: while events gather, ordinary ones wait and a reset does not.
func TestUrgent(t *testing.T) {
	p := openEvents(t, Options{})
	defer p.Close()
	events := p.Events()
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	evs := make([]Event, 64)
	if n, err := events.ReadAll(evs); n == 0 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	// They gather for as long as it takes.
	events.waiting.came, events.waiting.most = 1<<20, time.Hour
	read := make(chan []Event, 1)
	go func() {
		n, _ := events.ReadAll(evs) // an error leaves nothing
		read <- evs[:n]
	}()
	other := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	filter(t, tp.Aggregator, "input", "meta l4proto tcp reject with tcp reset")
	if _, err := e.client.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	var got []Event
	select {
	case got = <-read:
	case <-time.After(patience):
	}
	has := func(token uint32, kind Kind) bool {
		return slices.ContainsFunc(got, func(ev Event) bool { return ev.Token == token && ev.Kind == kind })
	}
	if !has(other.clientToken, Established) || !has(e.clientToken, SubflowClosed) {
		t.Errorf("read %+v, want a connection and the end of a subflow of the one before", got)
	}
}
