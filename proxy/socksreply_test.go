// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
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
