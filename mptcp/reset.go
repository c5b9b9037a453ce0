// SPDX-License-Identifier: Apache-2.0

package mptcp

import "golang.org/x/sys/unix"

// ResetOnClose makes the coming close of fd abortive: data that was not sent
// is dropped and the peer gets a reset. Errors are of no use to who is about
// to close, so there are none.
func ResetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
}

// CloseReset closes fd abortively.
func CloseReset(fd int) {
	ResetOnClose(fd)
	unix.Close(fd)
}
