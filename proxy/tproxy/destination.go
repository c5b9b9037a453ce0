// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
)

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
// (include/uapi/linux/netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h).
const originalDst = 80

// Destination is where the client of a forwarded connection wanted to go: the
// local address of the socket. It does not allocate.
func Destination(fd int) (netip.AddrPort, error) {
	local, err := mptcp.LocalAddr(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("destination: %w", err)
	}
	return local, nil
}

// OriginalDestination is where an own program wanted to go whose connection was
// redirected. If it was not redirected, the error wraps unix.ENOENT.
//
// For TCP sockets it is one system call that does not allocate. MPTCP sockets do
// not have the option, and the kernel's table of connections is asked over
// netlink, which needs CAP_NET_ADMIN and the network namespace of the socket.
func OriginalDestination(fd int) (netip.AddrPort, error) {
	local, err := mptcp.LocalAddr(fd)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	dst, err := originalDestination(fd, local.Addr().Is6())
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT) {
		dst, err = trackedDestination(fd, local)
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	return dst, nil
}

func originalDestination(fd int, v6 bool) (netip.AddrPort, error) {
	level := unix.SOL_IP
	if v6 {
		level = unix.SOL_IPV6
	}
	var sa [unix.SizeofSockaddrInet6]byte
	size := uint32(len(sa))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), originalDst,
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	// struct sockaddr_in, or sockaddr_in6 with the flow label before the address.
	port := binary.BigEndian.Uint16(sa[2:])
	if v6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(sa[8:24])), port), nil
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), port), nil
}
