// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/tandem-gateway/tandem/mptcp"
)

func forwardTo(host string, target netip.AddrPort) *Listener {
	return &Listener{
		Socket:   mptcp.ListenOptions{Mode: mptcp.ModePrefer},
		FrontEnd: NewForward(Request{Host: host, Target: target}),
	}
}

func TestForward(t *testing.T) {
	server := echoServer(t)
	for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModeRequire} {
		for name, l := range map[string]*Listener{
			"address": forwardTo("", server),
			"name":    forwardTo("localhost", netip.AddrPortFrom(netip.Addr{}, server.Port())),
		} {
			t.Run(name+"/mptcp "+mode.String(), func(t *testing.T) {
				p := serve(t, Options{}, l)
				exchange(t, dialProxy(t, p.addr, mode), "forth and back")
				p.quiescent()
				if r := p.records.wait(t, 1)[0]; r.Server != server || r.Up != 14 || r.Down != 14 || r.Err != nil {
					t.Errorf("record %+v", r)
				}
			})
		}
	}
}

func TestForwardToNobodyIsAReset(t *testing.T) {
	p := serve(t, Options{}, forwardTo("", echoServerGone(t)))
	expectReset(t, p.addr, mptcp.ModePrefer)
	expectReset(t, p.addr, mptcp.ModeOff)
	if s := p.quiescent(); s.Refused["server"] != 2 {
		t.Errorf("refused %v", s.Refused)
	}
}

func TestProxyHeader(t *testing.T) {
	for _, test := range []struct{ client, server string }{
		{"127.0.0.1:0", "127.0.0.1:0"},
		{"[::1]:0", "[::1]:0"},
		{"[::1]:0", "127.0.0.1:0"},
		{"127.0.0.1:0", "[::1]:0"},
	} {
		t.Run(test.client+" to "+test.server, func(t *testing.T) {
			headers := make(chan *proxyproto.Header, 1)
			server := listen(t, test.server, func(c *net.TCPConn) {
				r := bufio.NewReader(c)
				h, err := proxyproto.Read(r)
				if err != nil {
					t.Error(err)
				}
				headers <- h
				_, _ = io.Copy(c, r)
				_ = c.CloseWrite()
			})
			l := forwardTo("", server)
			l.Addresses = []netip.AddrPort{netip.MustParseAddrPort(test.client)}
			l.Upstream = NewDirect("direct", mptcp.ConnectOptions{}, Source{}, true)
			p := serve(t, Options{}, l)
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			h := <-headers
			source, destination, ok := h.TCPAddrs()
			if !ok || h.Version != 2 {
				t.Fatalf("header %+v", h)
			}
			unmapped := func(a *net.TCPAddr) netip.AddrPort {
				ap := a.AddrPort()
				return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
			}
			if got, want := unmapped(source), c.LocalAddr().(*net.TCPAddr).AddrPort(); got != want {
				t.Errorf("source %v, want %v", got, want)
			}
			if got := unmapped(destination); got != server {
				t.Errorf("destination %v, want %v", got, server)
			}
			exchange(t, c, "after the header")
			p.quiescent()
			if r := p.records.wait(t, 1)[0]; r.Up < 16 || r.Down != 16 {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestProxyHeaderWithoutAnAddress(t *testing.T) {
	b := appendProxyHeader(nil, netip.MustParseAddrPort("192.0.2.1:1"), netip.AddrPort{})
	h, err := proxyproto.Read(bufio.NewReader(&sliceReader{b}))
	if err != nil || !h.Command.IsLocal() {
		t.Errorf("header %+v, %v; want one of LOCAL", h, err)
	}
}

type sliceReader struct{ b []byte }

func (r *sliceReader) Read(b []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.b)
	r.b = r.b[n:]
	return n, nil
}

// One client keeps one address of the pool, different clients share the pool.
func TestSourcePoolIsPaired(t *testing.T) {
	seen := make(chan netip.Addr, 1)
	server := listen(t, "127.0.0.1:0", func(c *net.TCPConn) {
		seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	})
	pool := []netip.Addr{netip.MustParseAddr("127.1.0.1"), netip.MustParseAddr("127.1.0.2"), netip.MustParseAddr("::1"), netip.MustParseAddr("127.1.0.3")}
	l := forwardTo("", server)
	l.Upstream = NewDirect("pool", mptcp.ConnectOptions{}, Source{Mode: SourcePool, Pool: pool}, false)
	p := serve(t, Options{}, l)
	used := map[netip.Addr]bool{}
	for i := range 32 {
		client := netip.AddrFrom4([4]byte{127, 2, 0, byte(i)})
		var first netip.Addr
		for range 2 {
			d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Local: netip.AddrPortFrom(client, 0)}, Timeout: patience}
			c, err := d.DialContext(t.Context(), "tcp", p.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			got := <-seen
			c.Close()
			if first.IsValid() && got != first {
				t.Errorf("client %v came from %v, then from %v", client, first, got)
			}
			first = got
		}
		used[first] = true
	}
	if len(used) != 3 {
		t.Errorf("32 clients came from %v, want the three IPv4 addresses of the pool", used)
	}
	p.quiescent()
}

func TestSourceOfTheClient(t *testing.T) {
	s := Source{Mode: SourceClient}
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("[2001:db8::1]:1234")
	for _, test := range []struct{ client, remote, want netip.AddrPort }{
		{v4, v4, netip.AddrPortFrom(v4.Addr(), 0)},
		{v6, v6, netip.AddrPortFrom(v6.Addr(), 0)},
		{v4, v6, netip.AddrPort{}}, // the families cannot meet: the kernel chooses
	} {
		if got := s.local(test.client, test.remote); got != test.want {
			t.Errorf("client %v to %v: from %v, want %v", test.client, test.remote, got, test.want)
		}
	}
	o := NewDirect("", mptcp.ConnectOptions{}, s, false).Options(&Client{Remote: v4}, &Request{}, v6)
	if o.Socket.Transparent || o.Local.IsValid() {
		t.Errorf("options %+v for a client of the other family", o)
	}
}
