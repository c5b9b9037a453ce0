// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func mustListenNet(t *testing.T, addr netip.AddrPort, m Mode) *net.TCPListener {
	t.Helper()
	l, err := NewListener(addr, ListenOptions{Mode: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestDial(t *testing.T) {
	needMPTCP(t)
	for _, tt := range []struct {
		client, server Mode
		want           FallbackReason
	}{
		{ModePrefer, ModePrefer, None},
		{ModeRequire, ModePrefer, None},
		{ModePrefer, ModeOff, PeerTCP},
		{ModeOff, ModePrefer, NotAsked},
	} {
		t.Run(tt.client.String()+" to "+tt.server.String(), func(t *testing.T) {
			l := mustListenNet(t, loopback6, tt.server)
			d := Dialer{ConnectOptions: ConnectOptions{Mode: tt.client}, Timeout: patience}
			c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Status.Reason != tt.want || c.Status.MPTCP != (tt.want == None) {
				t.Errorf("client: %+v", c.Status)
			}
			s, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if status, err := StatusOf(s); err != nil || status.MPTCP != (tt.want == None) {
				t.Errorf("server: %+v, %v", status, err)
			}
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(s); err != nil || string(b) != "hello" {
				t.Errorf("server read %q, %v", b, err)
			}
		})
	}
}

func TestDialRequiredButTCP(t *testing.T) {
	needMPTCP(t)
	l := mustListenNet(t, loopback4, ModeOff)
	d := Dialer{ConnectOptions: ConnectOptions{Mode: ModeRequire}, Timeout: patience}
	_, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if !errors.Is(err, ErrNotNegotiated) {
		t.Errorf("got %v", err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n, err := s.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("server read %d, %v; want a reset", n, err)
	}
}

// The first of a name's addresses that answers is taken.
func TestDialTriesAddressesInOrder(t *testing.T) {
	l := mustListenNet(t, loopback4, ModeOff)
	host := nameServer(t, netip.MustParseAddr("127.0.0.99"), loopback4.Addr())
	port := l.Addr().(*net.TCPAddr).Port
	d := Dialer{Timeout: patience, Resolver: host}
	c, err := d.DialContext(t.Context(), "tcp4", fmt.Sprintf("gateway.test.:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("connected to %s", c.RemoteAddr())
	}
	l.Close()
	_, err = d.DialContext(t.Context(), "tcp4", fmt.Sprintf("gateway.test.:%d", port))
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestDialGivesUp(t *testing.T) {
	inNamespace(t)
	l := mustListenNet(t, loopback4, ModeOff)
	nft(t, "tcp flags & (syn|ack) == syn drop;")
	for _, m := range []Mode{ModeOff, ModePrefer} {
		d := Dialer{ConnectOptions: ConnectOptions{Mode: m}, Timeout: 30 * time.Millisecond}
		if _, err := d.DialContext(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("timeout: %v", err)
		}
		d.Timeout = 0
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(30*time.Millisecond, cancel)
		if _, err := d.DialContext(ctx, "tcp", l.Addr().String()); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestDialErrors(t *testing.T) {
	var d Dialer
	for _, tt := range [][2]string{{"udp", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:no-such-service"},
		{"tcp4", "[::1]:1"}, {"tcp", "[fe80::1%lo]:1"}} {
		if c, err := d.DialContext(t.Context(), tt[0], tt[1]); err == nil {
			c.Close()
			t.Errorf("%s %s: no error", tt[0], tt[1])
		}
	}
}

// The options of package net do not replace the caller's.
func TestDialKeepsOptions(t *testing.T) {
	l := mustListenNet(t, loopback4, ModePrefer)
	o := ConnectOptions{Mode: ModePrefer, Socket: SocketOptions{KeepAlive: KeepAlive{Idle: time.Minute, Count: 4}}}
	for name, tt := range map[string]struct {
		options                          ConnectOptions
		noDelay, keepAlive, idle, probes int
	}{
		"kernel's": {ConnectOptions{Mode: ModePrefer}, 0, 0, 7200, 9},
		"own":      {o, 0, 1, 60, 4},
	} {
		d := Dialer{ConnectOptions: tt.options, Timeout: patience}
		c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			for _, want := range []struct{ level, option, value int }{
				{unix.SOL_TCP, unix.TCP_NODELAY, tt.noDelay},
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, tt.keepAlive},
				{unix.SOL_TCP, unix.TCP_KEEPIDLE, tt.idle},
				{unix.SOL_TCP, unix.TCP_KEEPCNT, tt.probes},
			} {
				if got, err := unix.GetsockoptInt(int(fd), want.level, want.option); err != nil || got != want.value {
					t.Errorf("%s: option %d = %d, %v; want %d", name, want.option, got, err, want.value)
				}
			}
		}); err != nil {
			t.Error(err)
		}
	}
}
