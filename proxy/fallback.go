// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// whyTCP says more of a connection to a hop that does not use MPTCP: hops are
// expected to, so that it is worth some system calls. Servers seldom do.
func whyTCP(fd int) mptcp.FallbackReason {
	if reason, err := mptcp.Explain(fd); err == nil && reason != mptcp.None {
		return reason
	}
	return mptcp.PeerTCP // without the right to ask, or out of descriptors
}

// noteFallbacks notes which legs have lost MPTCP since they negotiated it (RFC
// 8684 section 3.7). It is called before their sockets are closed.
func (s *session) noteFallbacks() {
	for end, status := range [...]mptcp.Status{relay.Client: s.clientMPTCP, relay.Server: s.serverMPTCP} {
		if now := refreshed(status, s.pair.Ends[end].FD); now.MPTCP == status.MPTCP {
			continue
		}
		s.fellBack[end] = true
		if end == relay.Client {
			s.counters.client[mptcp.Fallback].Add(1)
		} else {
			s.worker.hops.of(s.hop).fallback[mptcp.Fallback].Add(1)
		}
	}
}

// spoke is what a leg has spoken in the end.
func (s *session) spoke(end int, negotiated mptcp.Status) mptcp.Status {
	if s.fellBack[end] {
		return mptcp.Status{Reason: mptcp.Fallback}
	}
	return negotiated
}
