// SPDX-License-Identifier: Apache-2.0

// Package handover has a running process start its successor, which may be
// another version of the program, and give it open descriptors, so that nobody
// who connects meanwhile is refused.
//
// The predecessor:
//
//	s, err := handover.Start(ctx, handover.Options{Command: command, FDs: fds, State: state})
//	// s serves as well from now on: stop accepting, let go of what it takes over.
//	err = s.Leave()
//	// It drains, and ends when it likes.
//
// The successor:
//
//	p, err := handover.Inherited()
//	if p != nil {
//		// Use p.FDs as p.State says, serve.
//		err = p.Ready()
//		// The predecessor has let go, or is dead.
//	}
//
// Until Ready the predecessor is in charge: a successor that ends before, or
// takes too long, changes nothing. After it the successor is, whatever becomes
// of the predecessor. There may be any number of predecessors that drain.
//
// The two talk over a socket pair that the successor inherits; its environment
// says so.
package handover
