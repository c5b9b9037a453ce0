// SPDX-License-Identifier: Apache-2.0

package mptcp

import "fmt"

// FallbackReason says why a connection is not MPTCP.
type FallbackReason uint8

// The reasons.
const (
	None          FallbackReason = iota // it is MPTCP
	NotAsked                            // ModeOff
	KernelWithout                       // this kernel has no MPTCP
	Disabled                            // net.mptcp.enabled is 0 in this network namespace
	PeerTCP                             // the peer, or something on the path, spoke plain TCP
	numReasons
)

// NumReasons is the number of reasons: they are 0 to NumReasons-1.
const NumReasons = int(numReasons)

var reasonNames = [NumReasons]string{
	None:          "none",
	NotAsked:      "not_asked",
	KernelWithout: "kernel_without",
	Disabled:      "disabled",
	PeerTCP:       "peer_tcp",
}

// String returns a short stable word for counters and logs.
func (r FallbackReason) String() string {
	if int(r) < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}
