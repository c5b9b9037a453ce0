// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// fromPool is an upstream with one source address, which is not the one that
// the kernel would choose.
func fromPool(address string) Upstream {
	return NewDirect("pool", mptcp.ConnectOptions{}, Source{Mode: SourcePool, Pool: []netip.Addr{netip.MustParseAddr(address)}}, false)
}

// firstReply makes a request and returns the answer.
func firstReply(t testing.TB, p *proxied, ask string) (*mptcp.Conn, socks.Code, netip.AddrPort) {
	t.Helper()
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+ask))
	expect(t, c, welcome)
	code, bound := readReply(t, c)
	return c, code, bound
}

func TestBindOnAnAddressOfThePool(t *testing.T) {
	l := socksListener(socks.Config{Bind: true})
	l.Upstream = fromPool("127.3.0.1")
	p := serve(t, Options{}, l)
	c, code, bound := firstReply(t, p, request(socks.Bind, netip.MustParseAddrPort("127.0.0.1:0")))
	if code != socks.Succeeded || bound.Addr().String() != "127.3.0.1" {
		t.Errorf("reply %v %v", code, bound)
	}
	c.Close()
	p.quiescent()
}

func TestOutsideIsSubjectToPolicy(t *testing.T) {
	destinations, err := policy.NewDestinations(policy.DestinationsConfig{
		Allow: []policy.Rule{{Prefix: netip.MustParsePrefix("127.0.0.2/32")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := socksListener(socks.Config{Bind: true, UDP: true})
	l.Destinations = destinations
	l.Upstream = fromPool("127.3.0.1")
	p := serve(t, Options{}, l)
	denied, code, _ := firstReply(t, p, request(socks.Bind, netip.MustParseAddrPort("127.0.0.1:0")))
	if code != socks.NotAllowed {
		t.Errorf("BIND for a peer that is denied: %v", code)
	}
	denied.Close()

	c, code, relay := firstReply(t, p, request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0")))
	if code != socks.Succeeded {
		t.Fatal(code)
	}
	client, err := net.Dial("udp", relay.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	forbidden, allowed := udpServer(t, "127.0.0.1:0"), udpServer(t, "127.0.0.2:0")
	for _, to := range []net.PacketConn{forbidden, allowed} {
		header := "\x00\x00\x00" + request(socks.Connect, to.LocalAddr().(*net.UDPAddr).AddrPort())[3:]
		send(t, client, []byte(header+"hi"))
	}
	// Datagrams keep their order, so that what has not come by now never will.
	b := make([]byte, 10)
	_, from, err := allowed.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := from.(*net.UDPAddr).AddrPort().Addr().String(); got != "127.3.0.1" {
		t.Errorf("datagram from %v, want the address of the pool", got)
	}
	raw, err := forbidden.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("%d bytes reached a server that is denied, %v", n, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	p.quiescent()
	if r := p.records.wait(t, 2)[1]; r.Up != 2 {
		t.Errorf("record %+v", r)
	}
}

// TestRecordOfAssociation: it tells from which addresses datagrams went out, one
// of each family, and claims no server.
func TestRecordOfAssociation(t *testing.T) {
	for _, keep := range []bool{true, false} {
		p := serve(t, Options{}, socksListener(socks.Config{UDP: true}))
		p.KeepLocal(keep)
		c, code, relay := firstReply(t, p, request(socks.Associate, netip.MustParseAddrPort("127.0.0.1:0")))
		if code != socks.Succeeded {
			t.Fatal(code)
		}
		client, err := net.Dial("udp", relay.String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var want [2]netip.AddrPort
		for i, address := range []string{"127.0.0.2:0", "[::1]:0"} {
			server := udpServer(t, address)
			send(t, client, []byte("\x00\x00\x00"+request(socks.Connect, server.LocalAddr().(*net.UDPAddr).AddrPort())[3:]+"hi"))
			_, from, err := server.ReadFrom(make([]byte, 10))
			if err != nil {
				t.Fatal(err)
			}
			if keep {
				want[i] = from.(*net.UDPAddr).AddrPort()
			}
		}
		c.Close()
		p.quiescent()
		if r := p.records.wait(t, 1)[0]; r.Command != Associate || r.Server.IsValid() || r.Local != want[0] || r.Also != want[1] {
			t.Errorf("record %+v, want %v", r, want)
		}
	}
}

func udpServer(t testing.TB, address string) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	if err := pc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return pc
}

// Peers and datagrams cannot go through a converter: a client is told so.
func TestOutsideNeedsADirectWay(t *testing.T) {
	l := socksListener(socks.Config{Bind: true, UDP: true})
	l.Upstream = ways{&gate{addresses: []netip.AddrPort{keeper(t)}}}
	p := serve(t, Options{}, l)
	for _, command := range []socks.Command{socks.Bind, socks.Associate} {
		c, code, _ := firstReply(t, p, request(command, netip.MustParseAddrPort("127.0.0.1:0")))
		if code != socks.CommandNotSupported {
			t.Errorf("%v: %v", command, code)
		}
		c.Close()
	}
	p.quiescent()
}

func TestAssociationThatNobodyUses(t *testing.T) {
	l := socksListener(socks.Config{UDP: true})
	complete(l)
	l.Timeouts.Relay.Idle = 20 * time.Millisecond
	p := serve(t, Options{}, l)
	c, _, _ := firstReply(t, p, request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0")))
	expectEnd(t, c)
	p.quiescent()
	if r := p.records.wait(t, 1)[0]; !errors.Is(r.Err, socks.ErrIdle) {
		t.Errorf("record %+v", r)
	}
}

func TestSocketOptionsOutside(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		lc := net.ListenConfig{Control: control(mptcp.SocketOptions{Mark: 7, Transparent: true, FreeBind: true, Device: "lo"})}
		pc, err := lc.ListenPacket(t.Context(), network, ":0")
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs CAP_NET_ADMIN: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := pc.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err != nil || v != 7 {
				t.Errorf("%s: mark %d, %v", network, v, err)
			}
			if v, err := unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil || v != "lo" {
				t.Errorf("%s: device %q, %v", network, v, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
		pc.Close()
	}
}
