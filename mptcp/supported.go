// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Errors that say why MPTCP sockets cannot be had, or were not negotiated.
var (
	// ErrUnsupported: the kernel was built without CONFIG_MPTCP or is older
	// than 5.6.
	ErrUnsupported = errors.New("kernel has no MPTCP: needs Linux 5.6 or newer with CONFIG_MPTCP=y")
	// ErrDisabled: net.mptcp.enabled is 0 in this network namespace.
	ErrDisabled = errors.New("MPTCP is switched off in this network namespace: sysctl net.mptcp.enabled=1 switches it on")
	// ErrNotNegotiated: ModeRequire, and the connection is plain TCP.
	ErrNotNegotiated = errors.New("MPTCP not negotiated")
)

// Supported tells whether this process can create MPTCP sockets in the
// network namespace of the calling thread, by creating one. The error wraps
// ErrUnsupported or ErrDisabled, or is what the kernel (a seccomp filter, a
// security module) answered.
func Supported() error {
	fd, err := newSocket(unix.AF_INET, unix.IPPROTO_MPTCP)
	if err != nil {
		return err
	}
	unix.Close(fd)
	return nil
}

// newSocket creates a non-blocking stream socket. A refusal to create an
// MPTCP one wraps ErrUnsupported or ErrDisabled beside the errno.
func newSocket(family, protocol int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		return fd, nil
	}
	if protocol == unix.IPPROTO_MPTCP {
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT):
			// EINVAL: kernels before 5.6 know no protocol above 255.
			return -1, fmt.Errorf("create MPTCP socket: %w (%w)", ErrUnsupported, err)
		case errors.Is(err, unix.ENOPROTOOPT):
			// mptcp_init_sock in net/mptcp/protocol.c.
			return -1, fmt.Errorf("create MPTCP socket: %w (%w)", ErrDisabled, err)
		}
		return -1, fmt.Errorf("create MPTCP socket: %w", err)
	}
	return -1, fmt.Errorf("create TCP socket: %w", err)
}

// openSocket creates the socket that m asks for, plain TCP instead of MPTCP
// if m is ModePrefer and the kernel cannot: then reason says why.
func openSocket(family int, m Mode) (fd int, reason FallbackReason, err error) {
	if m == ModeOff {
		fd, err = newSocket(family, unix.IPPROTO_TCP)
		return fd, NotAsked, err
	}
	fd, err = newSocket(family, unix.IPPROTO_MPTCP)
	if err == nil || m != ModePrefer {
		return fd, None, err
	}
	switch {
	case errors.Is(err, ErrUnsupported):
		reason = KernelWithout
	case errors.Is(err, ErrDisabled):
		reason = Disabled
	default:
		return -1, None, err
	}
	fd, err = newSocket(family, unix.IPPROTO_TCP)
	return fd, reason, err
}
