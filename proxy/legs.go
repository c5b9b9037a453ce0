// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"iter"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// Leg is an MPTCP connection of a session, with its subflows.
type Leg struct {
	Token     uint32 // of mptcp.Status
	Initiator bool   // this end opened it
	Began     time.Time
	Subflows  []mptcp.Subflow
}

// Legs walks through the MPTCP connections, as Live does. What it tells comes
// from the sockets themselves and needs no rights.
func (s *Server) Legs() iter.Seq[Leg] {
	return func(yield func(Leg) bool) {
		batch := make([]Leg, 0, 2*liveBatch)
		for i := range s.workers {
			for range s.walk(i, func(x *session) { batch = x.legs(batch) }) {
				for _, leg := range batch {
					if !yield(leg) {
						return
					}
				}
				clear(batch)
				batch = batch[:0]
			}
		}
	}
}

// legs appends those of the session.
func (s *session) legs(to []Leg) []Leg {
	began := s.worker.began.Add(s.start)
	add := func(end int, status mptcp.Status, leg Leg) {
		if !status.MPTCP {
			return
		}
		fd := s.pair.Ends[end].FD
		now, err := status.Refresh(fd)
		if err != nil || !now.MPTCP {
			return
		}
		if leg.Subflows, err = mptcp.Subflows(fd); err != nil {
			return // it has been closed
		}
		leg.Token = now.Token
		to = append(to, leg)
	}
	add(relay.Client, s.clientMPTCP, Leg{Began: began})
	add(relay.Server, s.serverMPTCP, Leg{Initiator: true, Began: began.Add(s.connected)})
	return to
}
