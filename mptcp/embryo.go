// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Embryonic reports whether a connection was accepted on the strength of the
// data in its SYN (TCP Fast Open, RFC 7413) and its handshake is not over yet:
// the first subflow is in SYN-RECEIVED.
//
// What is written to an embryonic MPTCP connection goes nowhere by itself. The
// kernel (6.18 at least) does not send on a subflow that is not established
// (__mptcp_subflow_active in net/mptcp/protocol.h), and nothing makes it try
// again once it is, unless the peer sends data or there is more to write. See
// Push.
func Embryonic(fd int) bool {
	var state TCPState // the first field of struct tcp_info
	_, errno := getsockopt(fd, unix.SOL_TCP, unix.TCP_INFO, unsafe.Pointer(&state), uint32(unsafe.Sizeof(state)))
	return errno == 0 && state == StateSynReceived
}

// Push sends what was written to an MPTCP connection while it was embryonic.
// It has no effect before the handshake is over, and does no harm ever.
func Push(fd int) error {
	// Setting TCP_NODELAY pushes (mptcp_setsockopt_sol_tcp_nodelay in
	// net/mptcp/sockopt.c), whatever it was before.
	before, err := unix.GetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil && before == 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 0)
	}
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return nil
}
