// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func dialFrom(t *testing.T, from netip.Addr, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func localOfTCP(c *net.TCPConn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }

func resolvesTo(addrs ...netip.Addr) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) { return addrs, nil }
}

func TestBinding(t *testing.T) {
	deny2 := func(p netip.AddrPort) error {
		if p.Addr() == loopback2 {
			return ErrNotAllowed
		}
		return nil
	}
	tests := []struct {
		name      string
		config    BindConfig
		uninvited bool // a connection from another host comes first
	}{
		{"expected peer", BindConfig{Local: loopback, Peer: loopback}, true},
		{"expected peer by name", BindConfig{Local: loopback, Host: "peer.example", Resolve: resolvesTo(loopback6, loopback)}, true},
		{"policy", BindConfig{Local: loopback, Allow: deny2}, true},
		{"anybody", BindConfig{Local: loopback, Peer: netip.IPv4Unspecified()}, false},
		{"local address by route", BindConfig{Peer: loopback}, false},
		{"MPTCP", BindConfig{Local: loopback, MPTCP: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.Timeout = 5 * time.Second
			b, err := StartBinding(t.Context(), tt.config)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if b.Addr().Addr() != loopback {
				t.Fatalf("listens on %s", b.Addr())
			}
			var intruder *net.TCPConn
			if tt.uninvited {
				intruder = dialFrom(t, loopback2, b.Addr())
			}
			peer := dialFrom(t, loopback, b.Addr())
			fd, from, err := b.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if from != localOfTCP(peer) {
				t.Errorf("peer is %s, want %s", from, localOfTCP(peer))
			}
			checkDescriptor(t, fd, peer)
			if intruder != nil {
				if _, err := intruder.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("the other host met %v", err)
				}
			}
			if c, err := net.Dial("tcp", b.Addr().String()); err == nil {
				c.Close()
				t.Error("it still listens")
			}
		})
	}
}

// checkDescriptor checks that fd is the other end of peer, does not block and
// is not inherited.
func checkDescriptor(t *testing.T, fd int, peer *net.TCPConn) {
	t.Helper()
	if _, err := unix.Read(fd, make([]byte, 1)); err != unix.EAGAIN {
		t.Errorf("read without data: %v", err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if _, err := unix.Write(fd, []byte("hello")); err != nil {
		t.Error(err)
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(peer); err != nil || string(got) != "hello" {
		t.Errorf("peer read %q, %v", got, err)
	}
}

func TestBindingFailures(t *testing.T) {
	unresolved := &net.DNSError{Err: "no such host", IsNotFound: true}
	tests := []struct {
		name   string
		config BindConfig
		code   Code
	}{
		{"name without resolver", BindConfig{Local: loopback, Host: "peer.example"}, AddressTypeNotSupported},
		{"name that does not resolve", BindConfig{Local: loopback, Host: "peer.example", Resolve: func(context.Context, string) ([]netip.Addr, error) { return nil, unresolved }}, HostUnreachable},
		{"name without addresses", BindConfig{Local: loopback, Host: "peer.example", Resolve: resolvesTo()}, HostUnreachable},
		{"neither address", BindConfig{}, GeneralFailure},
		{"not an address of ours", BindConfig{Local: netip.MustParseAddr("192.0.2.1")}, GeneralFailure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := StartBinding(t.Context(), tt.config)
			if err == nil {
				b.Close()
			}
			if got := ReplyCode(err); got != tt.code {
				t.Errorf("%v: %s, want %s", err, got, tt.code)
			}
		})
	}
}

func TestBindingIsNotWaitedForForever(t *testing.T) {
	b, err := StartBinding(t.Context(), BindConfig{Local: loopback, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Accept(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) || ReplyCode(err) != TTLExpired {
		t.Errorf("timeout: %v", err)
	}

	b, err = StartBinding(t.Context(), BindConfig{Local: loopback})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := b.Accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("context: %v", err)
	}
	b.Close()
}
