// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// pass gives a server the sockets of another, as another process would get them.
func pass(t *testing.T, from, to *proxied) {
	t.Helper()
	text, err := json.Marshal(from.Sockets())
	if err != nil {
		t.Fatal(err)
	}
	var sockets []Socket
	if err := json.Unmarshal(text, &sockets); err != nil {
		t.Fatal(err)
	}
	for i := range sockets {
		if sockets[i].FD, err = unix.FcntlInt(uintptr(sockets[i].FD), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Inherit(sockets); err != nil {
		t.Fatal(err)
	}
}

// TestSuccession has servers succeed each other under load: nobody is refused,
// and tunnels stay.
func TestSuccession(t *testing.T) {
	server := echoServer(t)
	l := forwardTo("", server)
	p := serve(t, Options{}, l)
	addr := p.addr
	tunnel := dialProxy(t, addr, mptcp.ModePrefer)
	send(t, tunnel, []byte("before"))
	expect(t, tunnel, "before")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				c := dialProxy(t, addr, mptcp.ModePrefer)
				exchange(t, c, "through one or the other")
			}
		})
	}
	var left sync.WaitGroup
	for range 5 {
		next := serve(t, Options{})
		pass(t, p, next)
		next.apply(forwardTo("", server))
		if next.addr != addr {
			t.Fatalf("the successor listens on %v, not on %v", next.addr, addr)
		}
		old := p
		left.Go(func() { old.Shutdown(t.Context()) })
		p = next
		await(t, "the successor to have work", func() bool { return next.Stats().Accepted > 10 })
	}
	stop()
	load.Wait()
	exchange(t, tunnel, "after")
	left.Wait()
}

// TestInheritWhatIsNotWanted opens sockets whose options differ anew, beside
// those that were inherited.
func TestInheritWhatIsNotWanted(t *testing.T) {
	server := echoServer(t)
	first := forwardTo("", server)
	gone := forwardTo("", server)
	gone.Name = "gone"
	p := serve(t, Options{}, first, gone)
	next := serve(t, Options{})
	// The port that the first has is asked for, without MPTCP.
	l := forwardTo("", server)
	l.Addresses = []netip.AddrPort{p.addr}
	l.Socket.Mode = mptcp.ModeOff
	before := listening(t)
	pass(t, p, next)
	next.apply(l)
	if n := listening(t) - before; n != 1 {
		t.Errorf("%d more listening sockets, want the new one alone", n)
	}
	p.Shutdown(t.Context())
	c := dialProxy(t, next.addr, mptcp.ModePrefer)
	exchange(t, c, "served")
	if s := next.Stats(); s.ClientMPTCP != 0 {
		t.Error("the socket is the one from before")
	}
}

func TestInheritBadSocket(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := serve(t, Options{})
	err = p.Inherit([]Socket{{FD: int(r.Fd()), Address: netip.MustParseAddrPort("127.0.0.1:1")}})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("a pipe: %v", err)
	}
}

// listening counts the sockets of the process that listen; others come and go
// with connections of tests before.
func listening(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && v == 1 {
			n++
		}
	}
	return n
}

// TestFreeID has IDs of a successor, with another number of loops, come after those of
// the one before it.
func TestFreeID(t *testing.T) {
	server := echoServer(t)
	var last uint64
	for _, workers := range []int{2, 3, 1} {
		p := serve(t, Options{Workers: workers, FirstID: last}, forwardTo("", server))
		for range 4 {
			exchange(t, dialProxy(t, p.addr, mptcp.ModePrefer), "hello")
		}
		free := p.FreeID()
		for _, l := range p.collect() {
			if l.ID <= last || l.ID >= free {
				t.Errorf("a connection of %d loops is called %d, want more than %d and less than %d", workers, l.ID, last, free)
			}
		}
		last = free
	}
}
