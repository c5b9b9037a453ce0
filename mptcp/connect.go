// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
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
	// net.ipv4.tcp_fastopen must be set as well. An MPTCP socket gets a large
	// receive buffer along with it, or there is no Fast Open: see fastOpenBuffer.
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
		fast := o.FastOpen && len(data) > 0 && (o.Mode == ModeOff || roomForFastOpen(fd, &o.Socket))
		sent, err = connect(fd, &sa, data, fast)
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

// connect sends the SYN, with as much of data as the kernel takes. The socket
// does not block, so that the Go scheduler need not hear of the call.
func connect(fd int, sa *sockaddr, data []byte, fastOpen bool) (sent int, err error) {
	var errno unix.Errno
	if fastOpen {
		var n uintptr
		n, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
			unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EOPNOTSUPP {
			return 0, inProgress(errno)
		}
		// net.ipv4.tcp_fastopen does not allow it.
	}
	_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.len))
	return 0, inProgress(errno)
}

// The receive buffer of an MPTCP socket that sends data in its SYN, in bytes
// as for SO_RCVBUF, and the least that will do.
//
// A Linux server (6.18 at least) that accepts such a SYN takes the window in it
// for a scaled one, though the window of a SYN never is (RFC 7323 section 2.2):
// tcp_create_openreq_child in net/ipv4/tcp_minisocks.c shifts it,
// mptcp_sk_clone_init in net/mptcp/protocol.c derives the end of the
// connection's window from that, and only then tcp_fastopen_create_child puts
// the subflow's own right. For its first 64 MB (with a window scale of 10) the
// server then heeds the windows of the subflows only. Two subflows together
// send more than fits the window of the connection, we have to drop it, and the
// rate falls to a tenth. A window that is larger than all that a server has
// unacknowledged (net.ipv4.tcp_wmem) keeps clear of that. It cannot be left to
// auto-tuning, which begins with 64 kB.
const (
	fastOpenBuffer      = 4 << 20
	leastFastOpenBuffer = 1 << 20
)

// roomForFastOpen gives a socket the receive buffer that it needs to send data
// in its SYN, and tells whether it has got it. One that was asked for stays.
func roomForFastOpen(fd int, o *SocketOptions) bool {
	if o.ReceiveBuffer == 0 {
		// Beyond net.core.rmem_max it takes CAP_NET_ADMIN.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, fastOpenBuffer) == nil {
			return true
		}
		// What is too small is not worth giving up auto-tuning for.
		if most, err := maxReceiveBuffer(); err != nil || most < leastFastOpenBuffer {
			return false
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, fastOpenBuffer) == nil
	}
	return o.ReceiveBuffer >= leastFastOpenBuffer
}

// maxReceiveBuffer is net.core.rmem_max: the same for all namespaces of the
// machine, and not something that changes while a gateway runs.
var maxReceiveBuffer = sync.OnceValues(func() (int, error) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
})

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
