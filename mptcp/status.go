// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// optInfo is MPTCP_INFO, a socket option of level SOL_MPTCP.
const optInfo = 1

// Status is what a connection negotiated.
type Status struct {
	// Token identifies the connection on this host (RFC 8684 section 3.1),
	// as path managers and eBPF know it. Zero without MPTCP.
	Token uint32
	MPTCP bool
	// Reason is why it is not MPTCP, None if it is.
	Reason FallbackReason
}

// Negotiated tells whether a connected or accepted socket speaks MPTCP now. It
// does not allocate; MPTCP takes it one system call, plain TCP two or three.
//
// The answer may still turn to TCP (RFC 8684 section 3.7) until the first data
// has gone both ways: see Refresh. In particular a connection accepted with
// Fast Open counts as MPTCP before its handshake has ended.
//
// The reason is PeerTCP for every socket that is plain TCP from its creation,
// unless the kernel has no MPTCP at all: right for accepted ones. Dialed knows
// better about those of StartConnect.
func Negotiated(fd int) (Status, error) {
	var info [16]byte // up to and with mptcpi_token
	n, errno := getsockopt(fd, unix.SOL_MPTCP, optInfo, unsafe.Pointer(&info), uint32(len(info)))
	switch {
	case errno == 0:
		if n < uint32(len(info)) {
			return Status{}, fmt.Errorf("MPTCP_INFO: kernel returned %d bytes", n)
		}
		if binary.NativeEndian.Uint32(info[8:])&FlagFallback != 0 {
			return Status{Reason: Fallback}, nil
		}
		return Status{MPTCP: true, Token: binary.NativeEndian.Uint32(info[12:])}, nil
	case plainTCP(errno):
		reason, err := whyTCP(fd)
		return Status{Reason: reason}, err
	}
	return Status{}, fmt.Errorf("MPTCP_INFO: %w", errno)
}

// IsTCP reports whether a socket is a TCP one: from its creation, or because it
// was accepted from a client that did not ask for MPTCP. One that has fallen
// back is still an MPTCP socket.
func IsTCP(fd int) bool {
	protocol, err := protocolOf(fd)
	return err == nil && protocol == unix.IPPROTO_TCP
}

// Dialed is Negotiated for a socket that StartConnect made with mode: a plain
// TCP one is so because this side wanted it or had no choice.
func Dialed(fd int, mode Mode) (Status, error) {
	if mode == ModeOff {
		return Status{Reason: NotAsked}, nil
	}
	s, err := Negotiated(fd)
	if err != nil || s.Reason != PeerTCP {
		return s, err
	}
	protocol, err := protocolOf(fd)
	if err != nil {
		return Status{}, err
	}
	if protocol == unix.IPPROTO_TCP {
		// Asking again tells why, unless that has changed since.
		if reason := cannot(Supported()); reason != None {
			s.Reason = reason
		}
	}
	return s, nil
}

// Refresh asks again about a connection whose earlier status is s: what was
// MPTCP then and is not now has fallen back.
func (s Status) Refresh(fd int) (Status, error) {
	if !s.MPTCP {
		return s, nil
	}
	now, err := Negotiated(fd)
	if err == nil && !now.MPTCP {
		now.Reason = Fallback
	}
	return now, err
}

// StatusOf is Negotiated for a connection of package net.
func StatusOf(c syscall.Conn) (Status, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Status{}, err
	}
	var s Status
	var asked error
	if err := raw.Control(func(fd uintptr) { s, asked = Negotiated(int(fd)) }); err != nil {
		return Status{}, err
	}
	return s, asked
}

// whyTCP finds the reason for a socket that the kernel treats as TCP.
func whyTCP(fd int) (FallbackReason, error) {
	protocol, err := protocolOf(fd)
	if err != nil {
		return None, err
	}
	if protocol == unix.IPPROTO_TCP {
		if kernelWithout() {
			return KernelWithout, nil
		}
		return PeerTCP, nil
	}
	var tcp [sizeofTCPInfo]byte
	if _, errno := getsockopt(fd, unix.SOL_TCP, unix.TCP_INFO, unsafe.Pointer(&tcp), fastOpenFailureEnd); errno != 0 {
		return None, fmt.Errorf("TCP_INFO: %w", errno)
	}
	switch fastOpenFailure(&tcp) {
	case FastOpenDataNotAcked, FastOpenSYNRetransmitted:
		return FastOpen, nil
	}
	return PeerTCP, nil
}

// kernelWithout does not change while the process lives.
var kernelWithout = sync.OnceValue(func() bool { return errors.Is(Supported(), ErrUnsupported) })

func protocolOf(fd int) (int, error) {
	var protocol int32
	if _, errno := getsockopt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL, unsafe.Pointer(&protocol), 4); errno != 0 {
		return 0, fmt.Errorf("SO_PROTOCOL: %w", errno)
	}
	return int(protocol), nil
}

// getsockopt returns how many bytes the kernel has filled in of size at p.
func getsockopt(fd, level, option int, p unsafe.Pointer, size uint32) (uint32, unix.Errno) {
	// Raw, as it does not block and is made once for each connection.
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(p), uintptr(unsafe.Pointer(&size)), 0)
	return size, errno
}
