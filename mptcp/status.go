// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket options of level SOL_MPTCP, from linux/mptcp.h.
const (
	optInfo = 1 // MPTCP_INFO
)

// Status is what a connection negotiated.
type Status struct {
	MPTCP bool
	// Token identifies the connection on this host (RFC 8684 section 3.1),
	// as path managers and eBPF know it. Zero without MPTCP.
	Token uint32
	// Reason is why it is not MPTCP, None if it is.
	Reason FallbackReason
}

// Negotiated tells whether a connected or accepted socket speaks MPTCP.
func Negotiated(fd int) (Status, error) {
	var info [16]byte // up to and with mptcpi_token
	n, errno := getsockopt(fd, unix.SOL_MPTCP, optInfo, unsafe.Pointer(&info), uint32(len(info)))
	switch errno {
	case 0:
		if n < uint32(len(info)) {
			return Status{}, fmt.Errorf("MPTCP_INFO: kernel returned %d bytes", n)
		}
		return Status{MPTCP: true, Token: binary.NativeEndian.Uint32(info[12:])}, nil
	case unix.EOPNOTSUPP, unix.ENOPROTOOPT:
		return Status{Reason: PeerTCP}, nil
	}
	return Status{}, fmt.Errorf("MPTCP_INFO: %w", errno)
}

func getsockopt(fd, level, option int, p unsafe.Pointer, size uint32) (uint32, unix.Errno) {
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(p), uintptr(unsafe.Pointer(&size)), 0)
	return size, errno
}
