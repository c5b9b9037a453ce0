// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths"
)

// ErrNoSubflow ends connections that had no subflow for too long.
var ErrNoSubflow = errors.New("no subflow for too long")

// Paths manages the subflows of connections: paths.Engine does. It is called on
// event loops and must not block.
type Paths interface {
	// Adopt hands over a connection; initiator says that this end opened it.
	Adopt(token uint32, p *paths.Policy, initiator bool)
	// Forget says that a connection is gone. It may be one that was never
	// adopted.
	Forget(token uint32)
	// Drain gives paths of a connection up, by number, instead of those that it
	// was told before. done is called once, from any goroutine, with why their
	// subflows stay open if they do.
	Drain(token uint32, numbers []int, done func(error))
}

// adopt hands one of the session's connections over, if it is MPTCP and
// somebody is to manage it.
func (s *session) adopt(status mptcp.Status, p *paths.Policy, initiator bool) {
	if manager := s.worker.server.opts.Paths; manager != nil && p != nil && status.MPTCP {
		manager.Adopt(status.Token, s.keeping(p), initiator)
	}
}

// forget takes back what adopt has done.
func (s *session) forget(status mptcp.Status, p *paths.Policy) {
	if manager := s.worker.server.opts.Paths; manager != nil && p != nil && status.MPTCP {
		manager.Forget(status.Token)
	}
}

// Abandon ends the session that has a connection with the token, with
// ErrNoSubflow. It does not block.
func (s *Server) Abandon(token uint32) {
	for _, w := range s.workers {
		// A loop that has ended has ended its sessions too.
		_ = w.loop.Post(func() {
			for x := w.sessions; x != nil; {
				next := x.next
				if x.has(token) {
					x.abort(ErrNoSubflow)
				}
				x = next
			}
		})
	}
}

func (s *session) has(token uint32) bool {
	return s.clientMPTCP.MPTCP && s.clientMPTCP.Token == token || s.serverMPTCP.MPTCP && s.serverMPTCP.Token == token
}
