// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ListenOptions say how to listen.
type ListenOptions struct {
	// Mode of the listener. An MPTCP listener serves plain TCP clients too,
	// also with ModeRequire: whoever accepts looks at Negotiated.
	Mode Mode
	// FastOpen is how many connections that brought data in their SYN may
	// wait for the end of their handshake (RFC 7413 section 5.1); 0 is no
	// Fast Open. The bit 2 of net.ipv4.tcp_fastopen must be set as well.
	FastOpen int
	// Backlog is how many connections may wait for Accept; 0 is as many as
	// net.core.somaxconn allows.
	Backlog int
	Socket  SocketOptions
}

// Listener is a listening socket. It is a value: closing FD is all there is
// to end it.
type Listener struct {
	FD    int
	MPTCP bool
	// Reason is why it is not MPTCP: NotAsked, KernelWithout, Disabled or
	// Forbidden.
	Reason FallbackReason
}

// Listen opens a non-blocking listening socket with SO_REUSEADDR. With
// ModePrefer it is a plain TCP one where MPTCP cannot be had. An IPv6 zone is
// taken on link-local addresses only.
func Listen(addr netip.AddrPort, o ListenOptions) (Listener, error) {
	l, err := listen(addr, &o)
	if err != nil {
		return Listener{FD: -1}, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

func listen(addr netip.AddrPort, o *ListenOptions) (Listener, error) {
	if !addr.Addr().IsValid() {
		return Listener{}, errNoAddress
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	scope, err := scopeOf(addr.Addr())
	if err != nil {
		return Listener{}, err
	}
	family := family(addr.Addr())
	fd, reason, err := openSocket(family, o.Mode)
	if err != nil {
		return Listener{}, err
	}
	if err := prepare(fd, family, addr, scope, o); err != nil {
		unix.Close(fd)
		return Listener{}, err
	}
	return Listener{FD: fd, MPTCP: reason == None, Reason: reason}, nil
}

// prepare takes a new socket to the listening state.
func prepare(fd, family int, addr netip.AddrPort, scope uint32, o *ListenOptions) error {
	set := setter{fd: fd}
	set.int(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
	if o.FastOpen != 0 {
		set.int(unix.SOL_TCP, unix.TCP_FASTOPEN, o.FastOpen, "TCP_FASTOPEN")
	}
	if set.err != nil {
		return set.err
	}
	if err := o.Socket.apply(fd, family); err != nil {
		return err
	}
	var sa sockaddr
	sa.set(addr, scope)
	if err := bind(fd, &sa); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	backlog := o.Backlog
	if backlog == 0 {
		backlog = 1<<31 - 1 // the kernel cuts it down to net.core.somaxconn
	}
	return unix.Listen(fd, backlog)
}

// Accept takes the next connection from a listening socket: non-blocking,
// closed on exec. The error is a bare errno, unix.EAGAIN if none waits. It
// does not allocate, save for the zone of a link-local client.
func Accept(lfd int) (fd int, remote netip.AddrPort, err error) {
	var sa sockaddr
	sa.room()
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(lfd), uintptr(unsafe.Pointer(&sa.raw)),
			uintptr(unsafe.Pointer(&sa.len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(r), sa.addrPort(), nil
		case unix.EINTR:
		default:
			return -1, netip.AddrPort{}, errnoErr(errno)
		}
	}
}
