// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
	"io"
	"net/netip"
	"testing"

	socks5 "github.com/armon/go-socks5"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

const (
	hello    = "\x05\x01\x00" // no authentication
	welcome  = "\x05\x00"
	success  = "\x05\x00\x00\x01"
	authHi   = "\x05\x01\x02"
	authMine = "\x01\x03ada\x06secret"
)

// request is a SOCKS5 request to an address.
func request(c socks.Command, to netip.AddrPort) string {
	b := []byte{5, byte(c), 0}
	if a := to.Addr(); a.Is4() {
		b = append(b, 1)
	} else {
		b = append(b, 4)
	}
	b = append(b, to.Addr().AsSlice()...)
	return string(binary.BigEndian.AppendUint16(b, to.Port()))
}

// requestName is a SOCKS5 CONNECT to a name.
func requestName(name string, port uint16) string {
	b := append([]byte{5, byte(socks.Connect), 0, 3, byte(len(name))}, name...)
	return string(binary.BigEndian.AppendUint16(b, port))
}

// readReply reads a reply with an IPv4 or IPv6 address.
func readReply(t testing.TB, c io.Reader) (socks.Code, netip.AddrPort) {
	t.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatalf("reply: %v", err)
	}
	rest := make([]byte, 4+2)
	if head[3] == 4 {
		rest = make([]byte, 16+2)
	}
	if _, err := io.ReadFull(c, rest); err != nil {
		t.Fatalf("reply: %v", err)
	}
	ip, _ := netip.AddrFromSlice(rest[:len(rest)-2])
	return socks.Code(head[1]), netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[len(rest)-2:]))
}

// throughSOCKS makes a tunnel to a server.
func throughSOCKS(t testing.TB, proxy, server netip.AddrPort, mode mptcp.Mode) *mptcp.Conn {
	t.Helper()
	c := dialProxy(t, proxy, mode)
	send(t, c, []byte(hello+request(socks.Connect, server)))
	expect(t, c, welcome)
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatalf("reply: %v", code)
	}
	return c
}

// askEarly asks for a tunnel to a server, with bytes for that right behind the
// request.
func askEarly(t testing.TB, proxy, server netip.AddrPort, early string) *mptcp.Conn {
	t.Helper()
	c := dialProxy(t, proxy, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Connect, server)+early))
	return c
}

// exchangeEarly expects what askEarly has sent back from an echo server, then
// sends more and ends the tunnel.
func exchangeEarly(t testing.TB, c *mptcp.Conn, early string) {
	t.Helper()
	expect(t, c, welcome)
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	expect(t, c, early)
	exchange(t, c, "words")
}

// exchange sends through a tunnel to an echo server and ends it.
func exchange(t testing.TB, c *mptcp.Conn, words string) {
	t.Helper()
	send(t, c, []byte(words))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, words)
	expectEnd(t, c)
	c.Close()
}

func TestSOCKSConnect(t *testing.T) {
	server := echoServer(t)
	users := socks5.StaticCredentials{"ada": "secret"}
	for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModeRequire} {
		for _, test := range []struct {
			name    string
			config  socks.Config
			send    string
			receive string
		}{
			{"address", socks.Config{}, hello + request(socks.Connect, server), welcome},
			{"name", socks.Config{}, hello + requestName("localhost", server.Port()), welcome},
			{"address as name", socks.Config{}, hello + requestName("127.0.0.1", server.Port()), welcome},
			{"user", socks.Config{Users: users}, authHi + authMine + request(socks.Connect, server), "\x05\x02\x01\x00"},
		} {
			t.Run(test.name+"/mptcp "+mode.String(), func(t *testing.T) {
				p := serve(t, Options{}, socksListener(test.config))
				c := dialProxy(t, p.addr, mode)
				// Greeting, authentication, request and data in one segment.
				send(t, c, []byte(test.send+"early"))
				expect(t, c, test.receive)
				code, bound := readReply(t, c)
				if code != socks.Succeeded || bound.Addr() != server.Addr() || bound.Port() == 0 {
					t.Fatalf("reply %v %v", code, bound)
				}
				expect(t, c, "early")
				exchange(t, c, "words")
				p.quiescent()
				r := p.records.wait(t, 1)[0]
				if r.Err != nil || r.Up != 10 || r.Down != 10 || r.Server != server || r.Hop != "direct" || r.Connected <= 0 || r.Duration < r.Connected {
					t.Errorf("record %+v", r)
				}
				if want := map[bool]string{true: "ada"}[test.name == "user"]; r.User != want {
					t.Errorf("user %q, want %q", r.User, want)
				}
				if r.ClientMPTCP.MPTCP != (mode == mptcp.ModeRequire) {
					t.Errorf("client's status %+v", r.ClientMPTCP)
				}
			})
		}
	}
}

func TestSOCKSWrongPassword(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{Users: socks5.StaticCredentials{}}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(authHi+authMine))
	expect(t, c, "\x05\x02\x01\x01")
	expectEnd(t, c)
	c.Close()
	if got := p.quiescent().Refused; got["authentication"] != 1 {
		t.Errorf("refused %v", got)
	}
}
