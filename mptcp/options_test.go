// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Both kinds of sockets take every option, for both families.
func TestPrivilegedOptions(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	o := SocketOptions{Mark: 0x2a, Device: "lo", Transparent: true, FreeBind: true, ReusePort: true}
	for _, m := range []Mode{ModePrefer, ModeOff} {
		for _, addr := range []string{"192.0.2.1:8080", "[2001:db8::1]:8080"} {
			// Two listeners on one foreign address: FreeBind or Transparent,
			// and ReusePort.
			foreign := netip.MustParseAddrPort(addr)
			mustListen(t, foreign, ListenOptions{Mode: m, Socket: o})
			l, local := mustListen(t, foreign, ListenOptions{Mode: m, Socket: o})
			if local != foreign {
				t.Errorf("listens on %s", local)
			}
			if mark, err := unix.GetsockoptInt(l.FD, unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0x2a {
				t.Errorf("mark %#x, %v", mark, err)
			}
			if device, err := unix.GetsockoptString(l.FD, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil || device != "lo" {
				t.Errorf("device %q, %v", device, err)
			}
		}
	}
}

// A connection can be made from somebody else's address.
func TestConnectFromForeignAddress(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	ip(t, "route add local 198.51.100.0/24 dev lo table 100")
	ip(t, "rule add from all lookup 100 priority 100")
	foreign := netip.MustParseAddr("198.51.100.7")
	for _, m := range []Mode{ModePrefer, ModeOff} {
		l, to := mustListen(t, loopback4, ListenOptions{Mode: m})
		o := ConnectOptions{Mode: m, Local: netip.AddrPortFrom(foreign, 0), Socket: SocketOptions{Transparent: true}}
		c, _ := mustConnect(t, to, nil, o)
		s, remote := mustAccept(t, l)
		if remote.Addr() != foreign {
			t.Errorf("server saw %s", remote)
		}
		talk(t, c, s, "there")
		talk(t, s, c, "and back")
	}
}

func TestConnectFromPort(t *testing.T) {
	_, free := mustListen(t, loopback4, ListenOptions{Mode: ModeOff, Socket: SocketOptions{ReusePort: true}})
	l, to := mustListen(t, loopback4, ListenOptions{Mode: ModeOff})
	o := ConnectOptions{Local: netip.AddrPortFrom(netip.Addr{}, free.Port()), Socket: SocketOptions{ReusePort: true}}
	mustConnect(t, to, nil, o)
	if _, remote := mustAccept(t, l); remote.Port() != free.Port() {
		t.Errorf("server saw %s, want port %d", remote, free.Port())
	}
}

func TestListenOnZone(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	ip(t, "addr add fe80::7/64 dev lo nodad")
	for _, zone := range []string{"lo", "1"} {
		// The kernel tells the zone of a TCP socket and not of an MPTCP one.
		for mode, told := range map[Mode]string{ModeOff: "1", ModePrefer: ""} {
			addr := netip.MustParseAddrPort("[fe80::7%" + zone + "]:0")
			_, local := mustListen(t, addr, ListenOptions{Mode: mode})
			if local.Addr() != addr.Addr().WithZone(told) {
				t.Errorf("zone %s, mode %s: listens on %s", zone, mode, local)
			}
		}
	}
	if _, err := Listen(netip.MustParseAddrPort("[fe80::7%nowhere]:0"), ListenOptions{}); err == nil {
		t.Error("zone nowhere accepted")
	}
}

func TestOptionErrorsNameTheOption(t *testing.T) {
	for name, tt := range map[string]struct {
		o    SocketOptions
		want error
	}{
		`SO_BINDTODEVICE to "nowhere0"`: {SocketOptions{Device: "nowhere0"}, unix.ENODEV},
		"TCP_KEEPCNT to 1000":           {SocketOptions{KeepAlive: KeepAlive{Count: 1000}}, unix.EINVAL},
		"TCP_KEEPIDLE to 99999":         {SocketOptions{KeepAlive: KeepAlive{Idle: 99999 * time.Second}}, unix.EINVAL},
	} {
		_, _, err := StartConnect(netip.MustParseAddrPort("127.0.0.1:1"), nil, ConnectOptions{Mode: ModeOff, Socket: tt.o})
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
