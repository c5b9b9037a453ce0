// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
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
// again once it is, unless the peer sends data or there is more to write. Not
// even setting TCP_NODELAY does, which pushes otherwise, if the connection has
// fallen back to TCP by then: options of TCP are those of its subflow since. So
// nothing should be written before it is over.
func Embryonic(fd int) bool {
	var state TCPState // the first field of struct tcp_info
	_, errno := getsockopt(fd, unix.SOL_TCP, unix.TCP_INFO, unsafe.Pointer(&state), uint32(unsafe.Sizeof(state)))
	return errno == 0 && state == StateSynReceived
}
