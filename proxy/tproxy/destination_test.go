// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

func TestDestinationDoesNotAllocate(t *testing.T) {
	h := newHome(t)
	to := h.targets(serverPort)[0]
	c, err := call{host: h.Client, to: to}.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	onFD(c, func(fd int) error {
		if n := testing.AllocsPerRun(100, func() { Destination(fd) }); n != 0 {
			t.Errorf("Destination allocates %v times", n)
		}
		if n := testing.AllocsPerRun(100, func() { originalDestination(fd, false) }); n != 0 {
			t.Errorf("OriginalDestination allocates %v times", n)
		}
		return nil
	})
}

func TestOriginalDestinationWithoutRedirection(t *testing.T) {
	h := newHome(t)
	h.proxy(t, mptcp.ModePrefer, OriginalDestination, both...)
	for _, multipath := range []bool{false, true} {
		for _, to := range both {
			c, err := call{host: h.CPE, to: to, mptcp: multipath}.dial(t)
			if err != nil {
				t.Fatal(err)
			}
			readLine(t, c)
			err = onFD(c, func(fd int) error {
				return h.CPE.Do(func() error {
					_, err := OriginalDestination(fd)
					return err
				})
			})
			if !errors.Is(err, unix.ENOENT) {
				t.Errorf("%v, mptcp %v: %v, want ENOENT", to, multipath, err)
			}
		}
	}
	if _, err := OriginalDestination(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
	if _, err := Destination(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}

func FuzzDecodeOriginal(f *testing.F) {
	from := netip.MustParseAddrPort("192.0.2.1:80")
	for _, pair := range [][2]netip.AddrPort{
		{from, netip.MustParseAddrPort("198.51.100.2:4000")},
		{netip.MustParseAddrPort("[2001:db8::1]:80"), netip.MustParseAddrPort("[2001:db8::2]:4000")},
	} {
		tuple, err := encodeReply(pair[0], pair[1])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(tuple)
		// The same, as the original direction.
		attrs, err := netlink.UnmarshalAttributes(tuple)
		if err != nil {
			f.Fatal(err)
		}
		attrs[0].Type = attrs[0].Type&^ctTupleReply | ctTupleOrig
		original, err := netlink.MarshalAttributes(attrs)
		if err != nil {
			f.Fatal(err)
		}
		if dst, err := decodeOriginal(original); err != nil || dst != pair[1] {
			f.Fatalf("decoded %v, %v, want %v", dst, err, pair[1])
		}
		f.Add(original)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dst, err := decodeOriginal(b)
		if err == nil && (!dst.IsValid() || dst.Port() == 0) {
			t.Errorf("decoded %v", dst)
		}
	})
}
