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
	// ErrForbidden: a seccomp filter or a security module does not let this
	// process have MPTCP sockets.
	ErrForbidden = errors.New("MPTCP sockets are forbidden to this process by a seccomp filter or security module")
	// ErrNotNegotiated: ModeRequire, and the connection is plain TCP.
	ErrNotNegotiated = errors.New("MPTCP not negotiated")
)

// Supported tells whether this process can create MPTCP sockets in the
// network namespace of the calling thread, by creating one. The error wraps
// ErrUnsupported, ErrDisabled or ErrForbidden, and the errno.
func Supported() error {
	fd, err := newSocket(unix.AF_INET, unix.IPPROTO_MPTCP)
	if err != nil {
		return err
	}
	unix.Close(fd)
	return nil
}

// newSocket creates a non-blocking stream socket. A refusal to create an
// MPTCP one wraps ErrUnsupported, ErrDisabled or ErrForbidden beside the errno.
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
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
			return -1, fmt.Errorf("create MPTCP socket: %w (%w)", ErrForbidden, err)
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
	if reason = cannot(err); reason == None {
		return -1, None, err
	}
	fd, err = newSocket(family, unix.IPPROTO_TCP)
	return fd, reason, err
}

// cannot is the reason that goes with an error of newSocket, None if it is
// about something else (descriptors, memory, the family) that plain TCP would
// not mend.
func cannot(err error) FallbackReason {
	switch {
	case errors.Is(err, ErrUnsupported):
		return KernelWithout
	case errors.Is(err, ErrDisabled):
		return Disabled
	case errors.Is(err, ErrForbidden):
		return Forbidden
	}
	return None
}
