// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestModesOfBothEnds(t *testing.T) {
	needMPTCP(t)
	for _, tt := range []struct {
		name           string
		client, server Mode
		clientReason   FallbackReason
		serverReason   FallbackReason
	}{
		{"both MPTCP", ModePrefer, ModePrefer, None, None},
		{"required", ModeRequire, ModeRequire, None, None},
		{"server TCP", ModePrefer, ModeOff, PeerTCP, PeerTCP},
		{"client TCP", ModeOff, ModePrefer, NotAsked, PeerTCP},
		{"both TCP", ModeOff, ModeOff, NotAsked, PeerTCP},
	} {
		for _, addr := range []netip.AddrPort{loopback4, loopback6} {
			t.Run(tt.name+" "+addr.Addr().String(), func(t *testing.T) {
				c, s := pair(t, addr, tt.client, tt.server)
				got, err := Dialed(c, tt.client)
				if want := (Status{MPTCP: tt.clientReason == None, Token: got.Token, Reason: tt.clientReason}); err != nil || got != want {
					t.Errorf("client: %+v, %v; want reason %s", got, err, tt.clientReason)
				}
				atServer, err := Negotiated(s)
				if err != nil || atServer.Reason != tt.serverReason || atServer.MPTCP != (tt.serverReason == None) {
					t.Errorf("server: %+v, %v; want reason %s", atServer, err, tt.serverReason)
				}
				if got.MPTCP && (got.Token == 0 || got.Token == atServer.Token) {
					t.Errorf("tokens %x and %x", got.Token, atServer.Token)
				}
				talk(t, c, s, "there")
				talk(t, s, c, "and back")
			})
		}
	}
}

func TestAddresses(t *testing.T) {
	mapped := netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")
	l, local := mustListen(t, mapped, ListenOptions{Mode: ModePrefer})
	if !local.Addr().Is4() {
		t.Fatalf("listens on %s", local)
	}
	to := netip.AddrPortFrom(mapped.Addr(), local.Port())
	from := netip.MustParseAddr("127.0.0.7")
	c, _ := mustConnect(t, to, nil, ConnectOptions{Mode: ModePrefer, Local: netip.AddrPortFrom(from, 0)})
	_, remote := mustAccept(t, l)
	mine, err := LocalAddr(c)
	if err != nil || mine.Addr() != from || mine != remote {
		t.Errorf("client is %s, %v; server saw %s", mine, err, remote)
	}
	if peer, err := RemoteAddr(c); err != nil || peer != local {
		t.Errorf("peer is %s, %v; want %s", peer, err, local)
	}
}

func TestDualStackListener(t *testing.T) {
	l, local := mustListen(t, netip.MustParseAddrPort("[::]:0"), ListenOptions{Mode: ModePrefer, Socket: SocketOptions{V6Only: V6OnlyNo}})
	to := netip.AddrPortFrom(loopback4.Addr(), local.Port())
	mustConnect(t, to, nil, ConnectOptions{Mode: ModePrefer})
	if _, remote := mustAccept(t, l); remote.Addr() != loopback4.Addr() {
		t.Errorf("client is %s, want it unmapped", remote)
	}

	_, local = mustListen(t, netip.MustParseAddrPort("[::]:0"), ListenOptions{Mode: ModePrefer, Socket: SocketOptions{V6Only: V6OnlyYes}})
	if err := connectFailure(t, netip.AddrPortFrom(loopback4.Addr(), local.Port()), ModeOff); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("IPv4 to an IPv6-only listener: %v", err)
	}
}

func connectFailure(t *testing.T, to netip.AddrPort, m Mode) error {
	t.Helper()
	fd, _, err := StartConnect(to, nil, ConnectOptions{Mode: m})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ready(t, fd, unix.POLLOUT)
	return ConnectError(fd)
}

func TestRefused(t *testing.T) {
	needMPTCP(t)
	l, free := mustListen(t, loopback4, ListenOptions{Mode: ModeOff})
	unix.Shutdown(l.FD, unix.SHUT_RDWR) // refuses, and keeps the port
	for _, m := range []Mode{ModeOff, ModePrefer, ModeRequire} {
		if err := connectFailure(t, free, m); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("mode %s: %v, want ECONNREFUSED", m, err)
		}
	}
}

func TestAcceptWithoutClient(t *testing.T) {
	l, _ := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer})
	if fd, _, err := Accept(l.FD); fd != -1 || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got %d, %v", fd, err)
	}
}

func TestListenErrors(t *testing.T) {
	_, taken := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer})
	if l, err := Listen(taken, ListenOptions{Mode: ModePrefer}); !errors.Is(err, unix.EADDRINUSE) || l.FD != -1 {
		t.Errorf("taken port: %+v, %v", l, err)
	}
	o := ListenOptions{Mode: ModePrefer, Socket: SocketOptions{Congestion: "no-such-control"}}
	if _, err := Listen(loopback4, o); !errors.Is(err, unix.ENOENT) {
		t.Errorf("unknown congestion control: %v", err)
	}
}

// Accepted connections have the options of their listener, so that nothing
// has to be set on each of them.
func TestOptionsAreInherited(t *testing.T) {
	needMPTCP(t)
	o := SocketOptions{NoDelay: true, KeepAlive: KeepAlive{Idle: 77 * time.Second, Interval: 6500 * time.Millisecond, Count: 3},
		Congestion: "reno", NotSentLowat: 32768, SendBuffer: 100000, ReceiveBuffer: 120000}
	for _, m := range []Mode{ModePrefer, ModeOff} {
		t.Run("client "+m.String(), func(t *testing.T) {
			l, to := mustListen(t, loopback4, ListenOptions{Mode: ModePrefer, Socket: o})
			c, _ := mustConnect(t, to, nil, ConnectOptions{Mode: m, Socket: o})
			s, _ := mustAccept(t, l)
			for end, fd := range map[string]int{"connected": c, "accepted": s} {
				lowat := 32768
				if fd == s && m == ModeOff {
					lowat = -1 // the one that a TCP client of an MPTCP listener does not get
				}
				for _, want := range []struct {
					name                 string
					level, option, value int
				}{
					{"TCP_NODELAY", unix.SOL_TCP, unix.TCP_NODELAY, 1},
					{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
					{"TCP_KEEPIDLE", unix.SOL_TCP, unix.TCP_KEEPIDLE, 77},
					{"TCP_KEEPINTVL", unix.SOL_TCP, unix.TCP_KEEPINTVL, 7},
					{"TCP_KEEPCNT", unix.SOL_TCP, unix.TCP_KEEPCNT, 3},
					{"TCP_NOTSENT_LOWAT", unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT, lowat},
					{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, 200000}, // the kernel doubles it
					{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 240000},
				} {
					if got, err := unix.GetsockoptInt(fd, want.level, want.option); err != nil || got != want.value {
						t.Errorf("%s: %s = %d, %v; want %d", end, want.name, got, err, want.value)
					}
				}
				if cc, err := unix.GetsockoptString(fd, unix.SOL_TCP, unix.TCP_CONGESTION); err != nil || cc != "reno" {
					t.Errorf("%s: congestion control %q, %v", end, cc, err)
				}
			}
		})
	}
}
