// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

var errFamilies = errors.New("local and remote address are of different families")

// ConnectOptions say how to connect.
type ConnectOptions struct {
	Mode Mode
	// Local is the address to bind to; the zero value, or port 0, leaves the
	// choice to the kernel.
	Local netip.AddrPort
	// FastOpen puts data in the SYN if there is some and the kernel holds a
	// cookie of the server; else it asks for one. Bit 1 of
	// net.ipv4.tcp_fastopen must be set as well.
	FastOpen bool
	Socket   SocketOptions
}

// StartConnect begins to connect a new non-blocking socket. When it becomes
// writable, ConnectError tells how it went.
//
// sent is how many bytes of data the kernel took to go with the SYN: 0 unless
// o.FastOpen is set and there was a cookie. The caller sends the others once
// connected. On error there is no socket and fd is -1.
//
// With ModePrefer the socket is plain TCP only where this kernel cannot create
// an MPTCP one; with ModeRequire that is an error, and whether the peer agreed
// is for the caller to ask (Negotiated).
func StartConnect(remote netip.AddrPort, data []byte, o ConnectOptions) (fd, sent int, err error) {
	fd, sent, err = startConnect(remote, data, &o)
	if err != nil {
		return -1, 0, fmt.Errorf("connect to %s: %w", remote, err)
	}
	return fd, sent, nil
}

func startConnect(remote netip.AddrPort, data []byte, o *ConnectOptions) (fd, sent int, err error) {
	if remote, err = plain(remote); err != nil {
		return -1, 0, err
	}
	family := family(remote.Addr())
	fd, _, err = openSocket(family, o.Mode)
	if err != nil {
		return -1, 0, err
	}
	if err = o.Socket.apply(fd, family); err == nil {
		err = bindLocal(fd, remote, o.Local)
	}
	if err == nil {
		var sa sockaddr
		sa.set(remote, 0)
		sent, err = connect(fd, &sa, data, o.FastOpen)
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	return fd, sent, nil
}

// bindLocal binds to the address to connect from, if there is one.
func bindLocal(fd int, remote, local netip.AddrPort) error {
	if !local.Addr().IsValid() {
		if local.Port() == 0 {
			return nil
		}
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
		if remote.Addr().Is6() {
			local = netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port())
		}
	}
	local, err := plain(local)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if local.Addr().Is4() != remote.Addr().Is4() {
		return fmt.Errorf("bind to %s: %w", local, errFamilies)
	}
	if local.Port() == 0 {
		// The port is chosen at connect, when the kernel can give the same
		// one to connections with different remote ends.
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("set IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
	}
	var sa sockaddr
	sa.set(local, 0)
	if err := bind(fd, &sa); err != nil {
		return fmt.Errorf("bind to %s: %w", local, err)
	}
	return nil
}

// connect sends the SYN, with as much of data as the kernel takes.
func connect(fd int, sa *sockaddr, data []byte, fastOpen bool) (sent int, err error) {
	var errno unix.Errno
	if fastOpen && len(data) > 0 {
		var n uintptr
		n, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
			unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EOPNOTSUPP {
			return 0, inProgress(errno)
		}
		// net.ipv4.tcp_fastopen does not allow it.
	}
	_, _, errno = unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
	return 0, inProgress(errno)
}

func inProgress(errno unix.Errno) error {
	if errno == unix.EINPROGRESS {
		return nil
	}
	return errnoErr(errno)
}

// ConnectError is the pending error of a socket, taken off it (SO_ERROR), as
// an errno; nil if there is none.
func ConnectError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	return errnoErr(unix.Errno(n))
}
