// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"maps"
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
