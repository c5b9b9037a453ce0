// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// serve accepts connections, each until its client closes it.
func serve(t testing.TB, at netip.Addr, mode mptcp.Mode) netip.AddrPort {
	t.Helper()
	ln, err := mptcp.NewListener(netip.AddrPortFrom(at, 0), mptcp.ListenOptions{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				io.Copy(io.Discard, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// connect returns the local port of a connection that lasts until the end of
// the test.
func connect(t testing.TB, to netip.AddrPort, mode mptcp.Mode) uint16 {
	t.Helper()
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mode}, Timeout: patience}
	c, err := d.DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.TCPAddr).AddrPort().Port()
}

// wellFormed wants TCP options that can be read to their end.
func wellFormed(t *testing.T, raw packet.Options) {
	t.Helper()
	const endOfList, noOperation = 0, 1
	if len(raw)%4 != 0 || len(raw) > 40 {
		t.Errorf("%d bytes of options", len(raw))
	}
	for p := raw; len(p) > 0 && p[0] != endOfList; {
		if p[0] == noOperation {
			p = p[1:]
			continue
		}
		if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
			t.Fatalf("malformed options % x", raw)
		}
		p = p[p[1]:]
	}
}

// TestSYNACKsOnTheWire compares with what a capture shows, for servers and
// clients with and without MPTCP, over IPv4 and IPv6.
func TestSYNACKsOnTheWire(t *testing.T) {
	p := open(t, Options{})
	l := labtest.New(t)
	client, server := host(t, l, "client"), host(t, l, "server")
	addrs := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	theirs := []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("2001:db8::2/64")}
	if _, err := l.Link(client, server, "up", "down", theirs, addrs, lab.LinkSpec{}); err != nil {
		t.Fatal(err)
	}
	recording := labtest.Capture(t, client, "up", "tcp")

	for _, addr := range addrs {
		for _, tt := range []struct {
			name           string
			client, server mptcp.Mode
			capable        bool
		}{
			{"TCP to TCP", mptcp.ModeOff, mptcp.ModeOff, false},
			{"TCP to MPTCP", mptcp.ModeOff, mptcp.ModePrefer, false},
			{"MPTCP to TCP", mptcp.ModePrefer, mptcp.ModeOff, false},
			{"MPTCP to MPTCP", mptcp.ModePrefer, mptcp.ModePrefer, true},
		} {
			t.Run(tt.name+" at "+addr.Addr().String(), func(t *testing.T) {
				var to netip.AddrPort
				var from uint16
				inside(t, server, func() { to = serve(t, addr.Addr(), tt.server) })
				inside(t, client, func() { from = connect(t, to, tt.client) })
				raw, ok := p.SYNACKs().AppendOptions([]byte("before"), from, to)
				if !ok || string(raw[:len("before")]) != "before" {
					t.Fatalf("got % x, %v", raw, ok)
				}
				options := packet.Options(raw[len("before"):])
				wellFormed(t, options)
				answer := awaitSYNACK(t, recording, to, from)
				if diff := cmp.Diff(answer.Options, options); diff != "" {
					t.Errorf("options (-capture +program):\n%s", diff)
				}
				for _, kind := range []uint8{packet.KindMSS, packet.KindSACKPermitted, packet.KindTimestamps, packet.KindWindowScale} {
					if _, ok := options.Find(kind); !ok {
						t.Errorf("no option of kind %d in % x", kind, raw)
					}
				}
				if _, ok := options.MPTCP(wire.MPCapable); ok != tt.capable {
					t.Errorf("MP_CAPABLE: %v, want %v", ok, tt.capable)
				}
				if again, ok := p.SYNACKs().AppendOptions(nil, from, to); ok || again != nil {
					t.Errorf("handed out twice: % x", again)
				}
			})
		}
	}
}

func host(t *testing.T, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// inside runs f in the namespace of a host.
func inside(t *testing.T, h *lab.Host, f func()) {
	t.Helper()
	if err := h.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// awaitSYNACK waits until a capture shows what answered a connection.
func awaitSYNACK(t *testing.T, c *capture.Capture, from netip.AddrPort, to uint16) (found packet.Segment) {
	t.Helper()
	labtest.Await(t, patience, "SYN-ACK in the capture", func() bool {
		segments, err := c.Segments()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segments {
			if s.IsSYNACK() && s.Src == from && s.Dst.Port() == to {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

func TestSYNACKsOfNobodyElse(t *testing.T) {
	p := open(t, Options{})
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModeOff)
	from := connect(t, to, mptcp.ModeOff)
	for _, tt := range []struct {
		name  string
		local uint16
		peer  netip.AddrPort
	}{
		{"another port", from ^ 1, to},
		{"another peer", from, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), to.Port())},
		{"another port of the peer", from, netip.AddrPortFrom(to.Addr(), to.Port()^1)},
		{"IPv6", from, netip.AddrPortFrom(netip.MustParseAddr("::127.0.0.1"), to.Port())},
		{"no address", from, netip.AddrPort{}},
		{"the accepted end", to.Port(), netip.AddrPortFrom(to.Addr(), from)},
	} {
		if got, ok := p.SYNACKs().AppendOptions(nil, tt.local, tt.peer); ok {
			t.Errorf("%s: % x", tt.name, got)
		}
	}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	if _, ok := p.SYNACKs().AppendOptions(nil, from, mapped); !ok {
		t.Error("not known under the IPv4-mapped address")
	}
}

func TestSYNACKsMissing(t *testing.T) {
	var none *SYNACKs
	if got, ok := none.AppendOptions(nil, 1, netip.MustParseAddrPort("127.0.0.1:1")); ok || got != nil {
		t.Errorf("got % x, %v", got, ok)
	}
}

// TestSYNACKsAreBounded opens more connections than are kept without asking.
func TestSYNACKsAreBounded(t *testing.T) {
	const kept, opened = 64, 400
	p := open(t, Options{SYNACKs: kept})
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModeOff)
	var ports []uint16
	for range opened {
		ports = append(ports, connect(t, to, mptcp.ModeOff))
	}
	if _, ok := p.SYNACKs().AppendOptions(nil, ports[opened-1], to); !ok {
		t.Error("the latest is not known")
	}
	known := 1
	for _, port := range ports[:opened-1] {
		if _, ok := p.SYNACKs().AppendOptions(nil, port, to); ok {
			known++
		}
	}
	// The kernel rounds the size up to a multiple of the number of CPUs.
	if known > 2*kept {
		t.Errorf("%d are kept, asked for %d", known, kept)
	}
}

// TestSYNACKsAfterClose: connections outlive the programs.
func TestSYNACKsAfterClose(t *testing.T) {
	needPrograms(t)
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModePrefer)
	p, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModePrefer}, Timeout: patience}
	c, err := d.DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("still there")); err != nil {
		t.Error(err)
	}
	connect(t, to, mptcp.ModePrefer)
}

// TestKeep: SYN-ACKs are kept while somebody wants them.
func TestKeep(t *testing.T) {
	needPrograms(t)
	p := open(t, Options{})
	to := serve(t, netip.MustParseAddr("127.0.0.1"), mptcp.ModeOff)
	for _, on := range []bool{true, false, false, true, true} {
		if err := p.SYNACKs().Keep(on); err != nil {
			t.Fatal(err)
		}
		from := connect(t, to, mptcp.ModeOff)
		if _, ok := p.SYNACKs().AppendOptions(nil, from, to); ok != on {
			t.Errorf("with %v: known %v", on, ok)
		}
	}
}
