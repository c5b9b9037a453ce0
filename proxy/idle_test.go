// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// ends are the far ends of many tunnels: bare descriptors, to weigh little.
type ends struct {
	t        testing.TB
	listener int
	addr     netip.AddrPort
	fds      []int
}

func newEnds(t testing.TB) *ends {
	t.Helper()
	l, err := mptcp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := mptcp.LocalAddr(l.FD)
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{t: t, listener: l.FD, addr: addr}
	t.Cleanup(func() {
		e.close()
		unix.Close(l.FD)
	})
	return e
}

func (e *ends) close() {
	for _, fd := range e.fds {
		mptcp.CloseReset(fd)
	}
	e.fds = nil
}

// open makes a tunnel through a SOCKS5 proxy.
func (e *ends) open(proxy netip.AddrPort, mode mptcp.Mode) {
	e.t.Helper()
	fd, _, err := mptcp.StartConnect(proxy, nil, mptcp.ConnectOptions{Mode: mode})
	if err != nil {
		e.t.Fatal(err)
	}
	e.fds = append(e.fds, fd)
	e.exchange(fd, hello, welcome)
	e.exchange(fd, request(socks.Connect, e.addr), success+"\x00\x00\x00\x00\x00\x00")
	await(e.t, "the server to be connected", func() bool {
		server, _, err := mptcp.Accept(e.listener)
		if err == nil {
			e.fds = append(e.fds, server)
		}
		return err == nil
	})
}

// exchange sends and receives as much as is expected.
func (e *ends) exchange(fd int, say, hear string) {
	e.t.Helper()
	poll := func(events int16) {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, int(patience.Milliseconds()))
		for err == unix.EINTR { // the runtime's own signals
			n, err = unix.Poll(p, int(patience.Milliseconds()))
		}
		if n != 1 {
			e.t.Fatalf("wait for the proxy: %d, %v", n, err)
		}
	}
	poll(unix.POLLOUT)
	if n, err := unix.Write(fd, []byte(say)); n != len(say) {
		e.t.Fatalf("wrote %d bytes: %v", n, err)
	}
	b := make([]byte, 64)
	for got := 0; got < len(hear); {
		poll(unix.POLLIN)
		n, err := unix.Read(fd, b)
		if n <= 0 {
			e.t.Fatalf("read %d bytes: %v", n, err)
		}
		got += n
	}
}

// An idle tunnel costs two descriptors and at most 1 kB.
func TestIdleTunnelsAreSmall(t *testing.T) {
	const warm, tunnels, most = 100, 2000, 1000
	e := newEnds(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	for range warm {
		e.open(p.addr, mptcp.ModePrefer)
	}
	heap, before, pipes := heapInUse(), streams(t), len(descriptors(t))-streams(t)
	for range tunnels {
		e.open(p.addr, mptcp.ModePrefer)
	}
	each := float64(heapInUse()-heap) / tunnels
	t.Logf("%.0f bytes for each of %d tunnels", each, tunnels)
	if each > most {
		t.Errorf("an idle tunnel costs %.0f bytes, want at most %d", each, most)
	}
	if n := streams(t) - before; n != 4*tunnels { // two of them the far ends'
		t.Errorf("%d tunnels with both far ends hold %d sockets, want %d", tunnels, n, 4*tunnels)
	}
	if n := len(descriptors(t)) - streams(t); n > pipes {
		t.Errorf("idle tunnels hold %d descriptors that are not sockets", n-pipes)
	}
	e.close()
	p.quiescent()
}

// heapInUse is what is reachable on the heap.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what has been in a sync.Pool, as of package fmt, goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkSession(b *testing.B) {
	e := newEnds(b)
	p := serve(b, Options{}, socksListener(socks.Config{}))
	b.ReportAllocs()
	for b.Loop() {
		e.open(p.addr, mptcp.ModeOff)
		e.close()
	}
}
