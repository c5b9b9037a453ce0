// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestSockaddrRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		a := netip.AddrFrom16([16]byte(b)).Unmap()
		if rapid.Bool().Draw(t, "v4") {
			a = netip.AddrFrom4([4]byte(b[:4]))
		}
		want := netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "port"))
		var sa sockaddr
		sa.set(want, 0)
		if got := sa.addrPort(); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestSockaddrScope(t *testing.T) {
	var sa sockaddr
	sa.set(netip.MustParseAddrPort("[fe80::1]:80"), 7)
	if got := sa.addrPort().String(); got != "[fe80::1%7]:80" {
		t.Errorf("got %s", got)
	}
}

func TestZonesRefused(t *testing.T) {
	zoned := netip.MustParseAddrPort("[fe80::1%lo]:80")
	if _, _, err := StartConnect(zoned, nil, ConnectOptions{}); !errors.Is(err, errZone) {
		t.Errorf("connect: %v", err)
	}
	if _, err := Listen(netip.MustParseAddrPort("[2001:db8::1%lo]:0"), ListenOptions{}); !errors.Is(err, errZone) {
		t.Errorf("listen: %v", err)
	}
	if _, _, err := StartConnect(netip.AddrPort{}, nil, ConnectOptions{}); !errors.Is(err, errNoAddress) {
		t.Errorf("connect to nothing: %v", err)
	}
	o := ConnectOptions{Local: loopback6}
	if _, _, err := StartConnect(netip.MustParseAddrPort("127.0.0.1:1"), nil, o); !errors.Is(err, errFamilies) {
		t.Errorf("mixed families: %v", err)
	}
}

func FuzzParseSockaddr(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", "[2001:db8::1]:443", "[fe80::1]:1"} {
		var sa sockaddr
		sa.set(netip.MustParseAddrPort(s), 3)
		f.Add(sa.raw[:sa.len])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := parseSockaddr(b)
		if a.Addr().Is4In6() {
			t.Errorf("%s not unmapped", a)
		}
		if a.IsValid() && a.Addr().Zone() == "" {
			var sa sockaddr
			sa.set(a, 0)
			if back := sa.addrPort(); back != a {
				t.Errorf("%s became %s", a, back)
			}
		}
	})
}
