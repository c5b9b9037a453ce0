// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestShutdownWaitsForConnections(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	c := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	left := make(chan int)
	go func() { left <- p.Shutdown(context.Background()) }()
	await(t, "the listener to close", func() bool {
		conn, err := net.Dial("tcp", p.addr.String())
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
	exchange(t, c, "the tunnel lives on")
	if n := <-left; n != 0 {
		t.Errorf("%d connections had to be ended", n)
	}
	if _, err := p.Apply(nil); !errors.Is(err, ErrShutdown) {
		t.Errorf("Apply after Shutdown: %v", err)
	}
}

// Clients that wait to be accepted when the proxy is stopped are served.
func TestShutdownServesThoseWhoWait(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, forwardTo("", server))
	release := p.hold()
	var waiting []*mptcp.Conn
	for range 10 {
		c := dialProxy(t, p.addr, mptcp.ModePrefer)
		send(t, c, []byte("x"))
		waiting = append(waiting, c)
	}
	left := make(chan int)
	go func() { left <- p.Shutdown(t.Context()) }()
	await(t, "the shutdown to wait for the workers", func() bool {
		free := p.mu.TryLock()
		if free {
			p.mu.Unlock()
		}
		return !free
	})
	release()
	for _, c := range waiting {
		expect(t, c, "x")
		exchange(t, c, "served")
	}
	if n := <-left; n != 0 {
		t.Errorf("%d connections had to be ended", n)
	}
}

func TestShutdownIsCutShort(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	tunnel := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	beginner := dialProxy(t, p.addr, mptcp.ModeOff)
	await(t, "both connections", func() bool { return p.Stats().Active == 2 })
	first := make(chan int)
	go func() { first <- p.Shutdown(context.Background()) }()
	await(t, "the listener to close", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.closing
	})
	if n := p.Shutdown(canceled()); n != 2 {
		t.Errorf("%d connections had to be ended, want 2", n)
	}
	<-first
	expectEnd(t, tunnel)
	expectEnd(t, beginner)
	for _, r := range p.records.wait(t, 2) {
		if !errors.Is(r.Err, ErrShutdown) {
			t.Errorf("record %+v", r)
		}
	}
	if s := p.quiescent(); s.Refused["shutdown"] != 1 {
		t.Errorf("refused %v", s.Refused)
	}
}

func TestApplyKeepsTunnelsAndSockets(t *testing.T) {
	server := echoServer(t)
	l := socksListener(socks.Config{})
	p := serve(t, Options{}, l)
	tunnel := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	beginner := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, beginner, []byte(hello))
	expect(t, beginner, welcome)

	changed := socksListener(socks.Config{Users: socks.NewCredentials(nil)})
	changed.Addresses = []netip.AddrPort{p.addr}
	before := p.addr
	p.apply(changed)
	if p.addr != before {
		t.Fatalf("moved from %v to %v", before, p.addr)
	}
	// New connections meet the new settings, older ones go on as they began.
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello))
	expect(t, c, "\x05\xff")
	c.Close()
	send(t, beginner, []byte(request(socks.Connect, server)))
	if code, _ := readReply(t, beginner); code != socks.Succeeded {
		t.Fatal(code)
	}
	exchange(t, beginner, "an older handshake")
	exchange(t, tunnel, "a tunnel")

	// Without its listener a tunnel lives on too.
	p.apply(l)
	orphan := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	if _, err := p.Apply(nil); err != nil {
		t.Fatal(err)
	}
	exchange(t, orphan, "an orphan")
	p.quiescent()
}

// The same port with other socket options is another socket. It takes over
// the clients that wait in the old one.
func TestApplyOtherSocketOptions(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	tunnel := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	for i, o := range []mptcp.ListenOptions{
		{Mode: mptcp.ModeOff, Socket: mptcp.SocketOptions{NoDelay: true}},
		{Mode: mptcp.ModePrefer, FastOpen: 16},
		{Mode: mptcp.ModePrefer},
	} {
		release := p.hold()
		var waiting []*mptcp.Conn
		for range 10 {
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(hello))
			waiting = append(waiting, c)
		}
		l := socksListener(socks.Config{})
		l.Addresses, l.Socket = []netip.AddrPort{p.addr}, o
		complete(l)
		applied := make(chan []Bound)
		go func() {
			bound, err := p.Apply([]*Listener{l})
			if err != nil {
				t.Error(err)
			}
			applied <- bound
		}()
		release()
		if bound := <-applied; len(bound) != 1 || bound[0].Address != p.addr || bound[0].MPTCP != (i > 0) {
			t.Fatalf("bound %+v", bound)
		}
		for _, c := range waiting {
			expect(t, c, welcome)
			c.Close()
		}
		exchange(t, throughSOCKS(t, p.addr, server, mptcp.ModeOff), "a new client")
	}
	// The port is not for others to share.
	if l, err := mptcp.Listen(p.addr, mptcp.ListenOptions{}); !errors.Is(err, unix.EADDRINUSE) {
		unix.Close(l.FD)
		t.Errorf("another socket on the port: %v", err)
	}
	exchange(t, tunnel, "the tunnel lives on")
	p.quiescent()
}

// hold keeps all workers busy until they are released.
func (p *proxied) hold() (release func()) {
	p.t.Helper()
	released := make(chan struct{})
	for _, w := range p.workers {
		if err := w.loop.Post(func() { <-released }); err != nil {
			p.t.Fatal(err)
		}
	}
	return func() { close(released) }
}

// From one address of a port to all of them, and back.
func TestApplyOtherAddressOfThePort(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	one := p.addr
	for _, addr := range []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), one.Port()), one} {
		l := socksListener(socks.Config{})
		l.Addresses = []netip.AddrPort{addr}
		p.apply(l)
		exchange(t, throughSOCKS(t, one, server, mptcp.ModePrefer), "served")
	}
	p.quiescent()
}

func TestApplyChangesNothingWhenItFails(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	for name, bad := range map[string][]*Listener{
		"port taken by another": {{
			Name: "bad", Addresses: []netip.AddrPort{server},
		}, {
			Name: "fresh", Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		}, {
			Name: "changed", Addresses: []netip.AddrPort{p.addr}, Socket: mptcp.ListenOptions{FastOpen: 16},
		}},
		"option refused": {{
			Name: "bad", Addresses: []netip.AddrPort{p.addr},
			Socket: mptcp.ListenOptions{Socket: mptcp.SocketOptions{Congestion: "none such"}},
		}},
		"port wanted twice": {
			{Name: "one", Addresses: []netip.AddrPort{p.addr}},
			{Name: "bad", Addresses: []netip.AddrPort{p.addr}},
		},
	} {
		before := listeners(t)
		_, err := p.Apply(bad)
		if err == nil || !strings.Contains(err.Error(), "listener bad") {
			t.Errorf("%s: error %v", name, err)
		}
		if after := listeners(t); after != before {
			t.Errorf("%s: %d listening sockets before, %d after", name, before, after)
		}
		exchange(t, throughSOCKS(t, p.addr, server, mptcp.ModeRequire), "as before")
	}
	p.quiescent()
}

// descriptors lists the open descriptors of the process.
func descriptors(t testing.TB) map[int]string {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[int]string{}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		// The one that lists them is gone by now.
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[fd] = what
		}
	}
	return open
}

// listeners counts the listening sockets of the process.
func listeners(t testing.TB) int { return sockets(t, unix.SO_ACCEPTCONN, 1) }

// streams counts its TCP and MPTCP sockets.
func streams(t testing.TB) int { return sockets(t, unix.SO_TYPE, unix.SOCK_STREAM) }

func sockets(t testing.TB, option, value int) int {
	t.Helper()
	n := 0
	for fd := range descriptors(t) {
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err == nil && v == value {
			n++
		}
	}
	return n
}

func TestNothingIsLeftOpen(t *testing.T) {
	server := echoServer(t)
	gone := echoServerGone(t)
	before := descriptors(t) // with those of the runtime, which has served already
	p := serve(t, Options{}, socksListener(socks.Config{Bind: true, UDP: true}))
	idle := descriptors(t)
	for range 50 {
		exchange(t, throughSOCKS(t, p.addr, server, mptcp.ModePrefer), strings.Repeat("x", 100_000))
		for _, said := range []string{
			"", "\x05", "\x00garbage", hello + request(socks.Connect, gone), hello + request(socks.Connect, server) + "early",
			hello + request(socks.Bind, gone), hello + request(socks.Associate, gone),
		} {
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(said))
			c.Close()
		}
	}
	p.quiescent()
	await(t, "all sockets to close", func() bool {
		// Idle pipes belong to the pool of a worker: two at most for each.
		return len(descriptors(t)) <= len(idle)+4
	})
	p.Close()
	var after map[int]string
	await(t, "the test server to close", func() bool {
		after = descriptors(t)
		return len(after) <= len(before)
	})
}

func TestNewServerLeavesNothingWhenItFails(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	// Fill the gaps between descriptors: the limit is on their numbers.
	highest := 0
	for range len(descriptors(t)) {
		fd, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		highest = max(highest, fd)
	}
	before := descriptors(t)
	limit := old
	limit.Cur = uint64(highest) + 1 + 3 // one worker and a half
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(Options{Workers: 4})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("error %v", err)
	}
	if after := descriptors(t); !maps.Equal(after, before) {
		t.Errorf("descriptors before: %v, after: %v", before, after)
	}
}

// Connections that come one after the other are shared out among the workers.
func TestWorkersShareConnections(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{Workers: 2}, socksListener(socks.Config{}))
	for range 8 {
		throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	}
	for i, w := range p.workers {
		if n := w.active.Load(); n < 3 || n > 5 {
			t.Errorf("worker %d has %d of 8 connections", i, n)
		}
	}
}

func TestOwnListenersAreOutOfReach(t *testing.T) {
	destinations, err := policy.NewDestinations(policy.DestinationsConfig{
		// Loopback is opened, as somebody may who tests on one machine.
		Allow: []policy.Rule{{Prefix: netip.MustParsePrefix("127.0.0.0/9")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := socksListener(socks.Config{})
	l.Destinations = destinations
	l.Addresses = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}
	p := serve(t, Options{}, l)
	for _, own := range hostAddresses(t) {
		c := dialProxy(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.addr.Port()), mptcp.ModeOff)
		send(t, c, []byte(hello+request(socks.Connect, netip.AddrPortFrom(own, p.addr.Port()))))
		expect(t, c, welcome)
		if code, _ := readReply(t, c); code != socks.NotAllowed {
			t.Errorf("own address %v: %v", own, code)
		}
		c.Close()
	}
	p.quiescent()
}

// hostAddresses are those of the interfaces other than 127.0.0.1, and one that
// only loopback has.
func hostAddresses(t testing.TB) []netip.Addr {
	t.Helper()
	all, err := policy.InterfaceAddresses()
	if err != nil {
		t.Fatal(err)
	}
	out := []netip.Addr{netip.MustParseAddr("127.255.0.1")}
	for _, a := range all {
		if a.Is4() && !a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}
