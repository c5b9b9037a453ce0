// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// rejections are what the kernel's own connect makes of each code of ICMP
// Destination Unreachable.
var rejections = []struct {
	addr, reject string
	code         uint8
}{
	{"127.0.0.2", "icmp type net-unreachable", 0},
	{"127.0.0.3", "icmp type host-unreachable", 1},
	{"127.0.0.4", "icmp type prot-unreachable", 2},
	{"127.0.0.5", "icmp type port-unreachable", 3},
	{"127.0.0.6", "icmp type net-prohibited", 9},
	{"127.0.0.7", "icmp type host-prohibited", 10},
	{"127.0.0.8", "icmp type admin-prohibited", 13},
	{"2001:db8::2", "icmpv6 type no-route", 0},
	{"2001:db8::3", "icmpv6 type admin-prohibited", 1},
	{"2001:db8::4", "icmpv6 type addr-unreachable", 3},
	{"2001:db8::5", "icmpv6 type port-unreachable", 4},
	{"2001:db8::6", "icmpv6 type policy-fail", 5},
	{"2001:db8::7", "icmpv6 type reject-route", 6},
}

// A client behind a converter sees the errors that it would see without.
func TestErrnoIsTheKernels(t *testing.T) {
	ownAddresses(t)
	rules := "table inet t { chain in { type filter hook input priority 0;\n"
	for _, r := range rejections {
		family := "ip"
		if strings.Contains(r.addr, ":") {
			family = "ip6"
		}
		rules += "meta l4proto tcp " + family + " daddr " + r.addr + " reject with " + r.reject + "\n"
	}
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules + "}\n}\n")
	if out, err := nft.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs nft")
	} else if err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	// All at once: the kernel believes the ICMP of a repeated SYN only.
	fds := make([]int, len(rejections))
	for i, r := range rejections {
		fds[i] = startConnect(t, netip.MustParseAddr(r.addr))
	}
	for i, r := range rejections {
		got := finishConnect(t, fds[i])
		if want := unreachableErrno(r.code, strings.Contains(r.addr, ":")); got != want {
			t.Errorf("%s: the kernel says %v, we say %v", r.reject, got, want)
		}
	}
}

func startConnect(t *testing.T, addr netip.Addr) int {
	t.Helper()
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: 80, Addr: [4]byte(addr.AsSlice()[:4])})
	if addr.Is6() {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: 80, Addr: addr.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		t.Fatalf("connect to %s: %v", addr, err)
	}
	return fd
}

func finishConnect(t *testing.T, fd int) unix.Errno {
	t.Helper()
	const patience = 10_000 // ms
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, patience); n != 1 {
		t.Fatalf("the kernel has no answer: %v", err)
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		t.Fatal(err)
	}
	return unix.Errno(n)
}

// ownAddresses has the test alone in a network namespace with the addresses of
// rejections.
func ownAddresses(t *testing.T) {
	t.Helper()
	labtest.Alone(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rejections {
		if strings.Contains(r.addr, ":") {
			addr, err := netlink.ParseAddr(r.addr + "/128")
			if err != nil {
				t.Fatal(err)
			}
			addr.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(lo, addr); err != nil {
				t.Fatal(err)
			}
		}
	}
}
