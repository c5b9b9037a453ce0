// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/resolve"
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
	users := socks.NewCredentials(map[string]string{"ada": "secret"})
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

func TestSOCKSReplyCodes(t *testing.T) {
	closedPort := echoServerGone(t)
	denied, err := policy.NewDestinations(policy.DestinationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	full := netip.MustParseAddrPort(fullServer(t))
	for _, test := range []struct {
		name   string
		change func(*Listener)
		ask    string
		code   socks.Code
		reason Reason
	}{
		{"refused", nil, request(socks.Connect, closedPort), socks.ConnectionRefused, RefusedServer},
		{"unreachable network", nil, request(socks.Connect, netip.MustParseAddrPort("224.0.0.1:80")), socks.NetworkUnreachable, RefusedServer},
		{"timeout", func(l *Listener) { l.Timeouts.Connect = 50 * time.Millisecond }, request(socks.Connect, full), socks.TTLExpired, RefusedServer},
		{"not allowed", func(l *Listener) { l.Destinations = denied }, request(socks.Connect, closedPort), socks.NotAllowed, RefusedDestination},
		{"name that is not allowed", func(l *Listener) { l.Destinations = denied }, requestName("localhost", 80), socks.NotAllowed, RefusedDestination},
		{"no upstream", func(l *Listener) { l.Upstream = nowhere{} }, request(socks.Connect, closedPort), socks.GeneralFailure, RefusedUpstream},
		{"IPv6 zone", nil, requestName("fe80::1%eth0", 80), socks.AddressTypeNotSupported, RefusedHandshake},
		{"address type", nil, "\x05\x01\x00\x09", socks.AddressTypeNotSupported, RefusedHandshake},
		{"command", nil, "\x05\x07\x00\x01\x7f\x00\x00\x01\x00\x50", socks.CommandNotSupported, RefusedHandshake},
		{"bind not offered", nil, request(socks.Bind, closedPort), socks.CommandNotSupported, RefusedHandshake},
		{"control characters", nil, requestName(strings.Repeat("\x01\x1b\n", 85), 80), socks.HostUnreachable, RefusedHandshake},
		{"port 0", nil, request(socks.Connect, netip.MustParseAddrPort("127.0.0.1:0")), socks.GeneralFailure, RefusedHandshake},
		{"no such name", nil, requestName("nowhere.invalid", 80), socks.HostUnreachable, RefusedServer},
	} {
		t.Run(test.name, func(t *testing.T) {
			names := resolve.New(resolve.Config{Servers: []netip.AddrPort{noNames(t)}})
			l := socksListener(socks.Config{})
			complete(l)
			if test.change != nil {
				test.change(l)
			}
			p := serve(t, Options{Resolver: names}, l)
			c := dialProxy(t, p.addr, mptcp.ModeOff)
			send(t, c, []byte(hello+test.ask))
			expect(t, c, welcome)
			if code, _ := readReply(t, c); code != test.code {
				t.Errorf("code %d (%v), want %d (%v)", code, code, test.code, test.code)
			}
			expectEnd(t, c)
			c.Close()
			if got := p.quiescent().Refused; got[test.reason.String()] != 1 {
				t.Errorf("refused %v, want one for %v", got, test.reason)
			}
			if r := p.records.wait(t, 1)[0]; r.Err == nil {
				t.Errorf("record without an error: %+v", r)
			}
			await(t, "the line in the log", func() bool { return p.log.count(slog.LevelDebug, "refused") == 1 })
		})
	}
}

// nowhere is an upstream that is down.
type nowhere struct{}

func (nowhere) Hops(*Request) []Hop { return nil }

// echoServerGone is an address that refuses connections.
func echoServerGone(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// fullServer is an address whose queue of connections is full, so that the
// kernel drops further SYNs.
func fullServer(t testing.TB) string {
	t.Helper()
	l, err := mptcp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), mptcp.ListenOptions{Backlog: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(l.FD) })
	addr, err := mptcp.LocalAddr(l.FD)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fd, _, err := mptcp.StartConnect(addr, nil, mptcp.ConnectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	return addr.String()
}

// noNames is a name server that knows no name.
func noNames(t testing.TB) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			const response, nameError = 0x80, 3
			b[2] |= response
			b[3] = nameError
			// The additional section of the query, EDNS, is left out.
			end := 12
			for end < n && b[end] != 0 {
				end += 1 + int(b[end])
			}
			binary.BigEndian.PutUint16(b[10:], 0)
			_, _ = pc.WriteTo(b[:min(end+5, n)], from)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// A name server that does not answer does not hold the client longer than the
// time to connect, and nothing waits for it when the proxy has ended.
func TestSOCKSNameServerIsSilent(t *testing.T) {
	silent := udpServer(t, "127.0.0.1:0").LocalAddr().(*net.UDPAddr).AddrPort()
	names := resolve.New(resolve.Config{Servers: []netip.AddrPort{silent}, Timeout: 200 * time.Millisecond})
	l := socksListener(socks.Config{})
	complete(l)
	l.Timeouts.Connect = 50 * time.Millisecond
	p := serve(t, Options{Resolver: names}, l)
	c, code, _ := firstReply(t, p, requestName("server.example", 80))
	if code != socks.HostUnreachable {
		t.Errorf("reply %v", code)
	}
	c.Close()
	p.quiescent()
}

func TestSOCKSWrongPassword(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{Users: socks.NewCredentials(nil)}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(authHi+authMine))
	expect(t, c, "\x05\x02\x01\x01")
	expectEnd(t, c)
	c.Close()
	if got := p.quiescent().Refused; got["authentication"] != 1 {
		t.Errorf("refused %v", got)
	}
}

func TestSOCKSBind(t *testing.T) {
	for _, test := range []struct {
		name string
		peer string
		code socks.Code // of the second reply
	}{
		{"expected peer", "127.0.0.1", socks.Succeeded},
		{"any peer", "0.0.0.0", socks.Succeeded},
		{"peer that never comes", "127.0.0.9", socks.TTLExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := socksListener(socks.Config{Bind: true})
			complete(l)
			if test.code != socks.Succeeded {
				l.Timeouts.Connect = 100 * time.Millisecond
			}
			p := serve(t, Options{}, l)
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(hello+request(socks.Bind, netip.AddrPortFrom(netip.MustParseAddr(test.peer), 0))))
			expect(t, c, welcome)
			code, where := readReply(t, c)
			if code != socks.Succeeded || where.Port() == 0 {
				t.Fatalf("first reply %v %v", code, where)
			}
			peer, err := net.Dial("tcp", where.String())
			if err == nil {
				defer peer.Close()
			} else if test.code == socks.Succeeded {
				t.Fatal(err)
			}
			code, who := readReply(t, c)
			if code != test.code {
				t.Fatalf("second reply %v", code)
			}
			if code == socks.Succeeded {
				if local := peer.LocalAddr().(*net.TCPAddr).AddrPort(); who != local {
					t.Errorf("peer %v, want %v", who, local)
				}
				send(t, peer, []byte("from the peer"))
				expect(t, c, "from the peer")
				send(t, c, []byte("from the client"))
				expect(t, peer, "from the client")
				peer.Close()
			}
			c.Close()
			p.quiescent()
		})
	}
}

func TestSOCKSBindEndsWithItsClient(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{Bind: true}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Bind, netip.MustParseAddrPort("127.0.0.1:0"))))
	expect(t, c, welcome)
	_, where := readReply(t, c)
	c.Close()
	p.quiescent()
	await(t, "the listening socket to close", func() bool {
		conn, err := net.Dial("tcp", where.String())
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
}

func TestSOCKSAssociate(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p := serve(t, Options{}, socksListener(socks.Config{UDP: true}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0"))))
	expect(t, c, welcome)
	code, relay := readReply(t, c)
	if code != socks.Succeeded {
		t.Fatal(code)
	}
	client, err := net.Dial("udp", relay.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	to := server.LocalAddr().(*net.UDPAddr).AddrPort()
	header := "\x00\x00\x00" + request(socks.Connect, to)[3:]
	send(t, client, []byte(header+"ping"))
	b := make([]byte, 100)
	_ = server.SetDeadline(time.Now().Add(patience))
	n, from, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "ping" {
		t.Fatalf("server got %q, %v", b[:n], err)
	}
	if _, err := server.WriteTo([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(patience))
	if n, err = client.Read(b); err != nil || string(b[:n]) != header+"answer" {
		t.Fatalf("client got %q, %v", b[:n], err)
	}
	// The association ends with its connection.
	c.Close()
	p.quiescent()
	if r := p.records.wait(t, 1)[0]; r.Up != 4 || r.Down != 6 || r.Err != nil || r.Connected == 0 {
		t.Errorf("record %+v", r)
	}
	await(t, "the datagram socket to close", func() bool {
		_, _ = client.Write([]byte(header))
		return errors.Is(lastError(client), unix.ECONNREFUSED)
	})
}

// lastError is what a connected datagram socket has to say.
func lastError(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestSOCKSAssociateEndsWithTheServer(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{UDP: true}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0"))))
	expect(t, c, welcome)
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatal(code)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if left := p.Shutdown(ctx); left != 1 {
		t.Errorf("%d connections had to be ended, want 1", left)
	}
	expectEnd(t, c)
}
