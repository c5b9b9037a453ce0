// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	socks5 "github.com/armon/go-socks5"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func TestApplyKeepsTunnelsAndSockets(t *testing.T) {
	server := echoServer(t)
	l := socksListener(socks.Config{})
	p := serve(t, Options{}, l)
	tunnel := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	beginner := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, beginner, []byte(hello))
	expect(t, beginner, welcome)

	changed := socksListener(socks.Config{Users: socks5.StaticCredentials{}})
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

// TestApplyIfNot has clients come to a new socket, beside the one on the same port,
// which is not wanted after all: the one that stays takes them over.
func TestApplyIfNot(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{}))
	before := listeners(t)
	l := socksListener(socks.Config{Users: socks5.StaticCredentials{}})
	l.Addresses, l.Socket = []netip.AddrPort{p.addr}, mptcp.ListenOptions{FastOpen: 16}
	complete(l)
	fresh := socksListener(socks.Config{})
	fresh.Name = "fresh"
	complete(fresh)
	no := errors.New("no")
	var waiting []*mptcp.Conn
	_, err := p.ApplyIf([]*Listener{l, fresh}, func(bound []Bound) error {
		if len(bound) != 2 || bound[0].Address != p.addr || bound[0].Name != l.Name || bound[1].Name != "fresh" || bound[1].Address.Port() == 0 {
			t.Errorf("bound %+v", bound)
		}
		if n := listeners(t); n != before+2 {
			t.Errorf("%d listening sockets, %d before", n, before)
		}
		for range 20 {
			waiting = append(waiting, dialProxy(t, p.addr, mptcp.ModePrefer))
		}
		return no
	})
	if err != no {
		t.Errorf("error %v", err)
	}
	for _, c := range waiting {
		send(t, c, []byte(hello))
		expect(t, c, welcome)
		c.Close()
	}
	if n := listeners(t); n != before {
		t.Errorf("%d listening sockets before, %d after", before, n)
	}
	exchange(t, throughSOCKS(t, p.addr, server, mptcp.ModePrefer), "as before")
	p.quiescent()
}
