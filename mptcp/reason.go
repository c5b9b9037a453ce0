// SPDX-License-Identifier: Apache-2.0

package mptcp

import "fmt"

// FallbackReason says why a connection is not MPTCP.
type FallbackReason uint8

// The reasons. Those that only Explain can tell from PeerTCP say so.
const (
	None          FallbackReason = iota // it is MPTCP
	NotAsked                            // ModeOff
	KernelWithout                       // this kernel has no MPTCP
	Disabled                            // net.mptcp.enabled is 0 in this network namespace
	Forbidden                           // a seccomp filter or security module does not allow it
	// PeerTCP: the peer did not send MP_CAPABLE, or something on the path
	// took it away.
	PeerTCP
	// FastOpen: the data we sent in the SYN was not acknowledged with it (the
	// SYN was lost, the cookie stale, Fast Open off at the server). Linux
	// then repeats it outside of MPTCP's sequence space, so that the
	// connection goes on as TCP even if the peer speaks MPTCP. Connecting
	// again without Fast Open tells.
	FastOpen
	// Fallback: it was negotiated, then lost: segments came without MPTCP
	// options (RFC 8684 section 3.7). Told by Explain and Status.Refresh.
	Fallback
	// SYNDropped: SYNs with MP_CAPABLE were not answered, one without was
	// (net.mptcp.syn_retrans_before_tcp_fallback). Told by Explain.
	SYNDropped
	// Blackhole: the kernel did not ask, because after SYNDropped it leaves
	// MPTCP alone for net.mptcp.blackhole_timeout seconds, twice as long each
	// time, for all peers. Told by Explain.
	Blackhole
	numReasons
)

// NumReasons is the number of reasons: they are 0 to NumReasons-1.
const NumReasons = int(numReasons)

var reasonNames = [NumReasons]string{
	None:          "none",
	NotAsked:      "not_asked",
	KernelWithout: "kernel_without",
	Disabled:      "disabled",
	Forbidden:     "forbidden",
	PeerTCP:       "peer_tcp",
	FastOpen:      "fast_open",
	Fallback:      "fallback",
	SYNDropped:    "syn_dropped",
	Blackhole:     "blackhole",
}

// String returns a short stable word for counters and logs.
func (r FallbackReason) String() string {
	if int(r) < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}
