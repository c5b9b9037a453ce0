// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	errNoAddress = errors.New("no address")
	errZone      = errors.New("IPv6 zone not accepted here")
)

// sockaddr is a struct sockaddr_in or sockaddr_in6 (the larger of the two) in
// the kernel's layout. It lives on the stack where unix.Sockaddr is an
// interface that has to be allocated.
type sockaddr struct {
	raw [unix.SizeofSockaddrInet6]byte
	len uint32 // socklen_t
}

// family of addr's socket: IPv4-mapped addresses must have been unmapped.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// set makes sa stand for addr, whose zone must have been resolved to scope.
func (sa *sockaddr) set(addr netip.AddrPort, scope uint32) {
	f := family(addr.Addr())
	binary.NativeEndian.PutUint16(sa.raw[0:], uint16(f))
	binary.BigEndian.PutUint16(sa.raw[2:], addr.Port())
	if f == unix.AF_INET {
		a := addr.Addr().As4()
		copy(sa.raw[4:], a[:])
		sa.len = unix.SizeofSockaddrInet4
		return
	}
	a := addr.Addr().As16()
	copy(sa.raw[8:], a[:])
	binary.NativeEndian.PutUint32(sa.raw[24:], scope)
	sa.len = unix.SizeofSockaddrInet6
}

// room makes sa ready to be filled by the kernel.
func (sa *sockaddr) room() { sa.len = uint32(len(sa.raw)) }

// addrPort is the address in sa, IPv4-mapped ones unmapped; the zero value if
// it is neither IPv4 nor IPv6. Only link-local addresses have a zone, a number.
func (sa *sockaddr) addrPort() netip.AddrPort { return parseSockaddr(sa.raw[:]) }

// parseSockaddr reads a struct sockaddr_in or sockaddr_in6.
func parseSockaddr(b []byte) netip.AddrPort {
	if len(b) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case unix.AF_INET6:
		if len(b) < unix.SizeofSockaddrInet6 {
			break
		}
		a := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		if scope := binary.NativeEndian.Uint32(b[24:]); scope != 0 && a.IsLinkLocalUnicast() {
			a = a.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		return netip.AddrPortFrom(a, port)
	}
	return netip.AddrPort{}
}

// plain unmaps addr and refuses what cannot be connected to or from.
func plain(addr netip.AddrPort) (netip.AddrPort, error) {
	if !addr.Addr().IsValid() {
		return addr, errNoAddress
	}
	if addr.Addr().Zone() != "" {
		return addr, fmt.Errorf("%w: %s", errZone, addr.Addr())
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), nil
}

// scopeOf resolves the zone of a link-local address to listen on.
func scopeOf(a netip.Addr) (uint32, error) {
	if a.Zone() == "" {
		return 0, nil
	}
	if !a.IsLinkLocalUnicast() {
		return 0, fmt.Errorf("%w: %s is not link-local", errZone, a)
	}
	if n, err := strconv.ParseUint(a.Zone(), 10, 32); err == nil {
		return uint32(n), nil
	}
	ifi, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0, fmt.Errorf("zone of %s: %w", a, err)
	}
	return uint32(ifi.Index), nil
}

func bind(fd int, sa *sockaddr) error {
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
	return errnoErr(errno)
}

// errnoErr is nil for 0. The interface is made of a constant for what happens
// all the time, so that it is not allocated.
func errnoErr(errno unix.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.EAGAIN:
		return errAgain
	case unix.EINPROGRESS:
		return errInProgress
	}
	return errno
}

var (
	errAgain      error = unix.EAGAIN
	errInProgress error = unix.EINPROGRESS
)

// LocalAddr is the address fd is bound to.
func LocalAddr(fd int) (netip.AddrPort, error) {
	return nameOf(unix.SYS_GETSOCKNAME, fd, "local address of socket")
}

// RemoteAddr is the address fd is connected to. For an MPTCP connection it is
// the one of the first subflow.
func RemoteAddr(fd int) (netip.AddrPort, error) {
	return nameOf(unix.SYS_GETPEERNAME, fd, "remote address of socket")
}

func nameOf(call uintptr, fd int, what string) (netip.AddrPort, error) {
	var sa sockaddr
	sa.room()
	// Raw: it waits for nothing but the lock of the socket, and may be made once for
	// each connection.
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(unsafe.Pointer(&sa.len)))
	if errno != 0 {
		return netip.AddrPort{}, fmt.Errorf("%s: %w", what, errno)
	}
	return sa.addrPort(), nil
}
