// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// embryoTick is how often it is looked whether handshakes have come to their
// end: what an answer that is quicker than them may have to wait at most.
const embryoTick = 5 * time.Millisecond

// nurse sees to it that the client of s gets what is written before the end of
// its handshake, see mptcp.Embryonic. There are never more such clients than
// the FastOpen of the listeners allows.
func (w *worker) nurse(s *session) {
	if s.listener.Socket.FastOpen == 0 || !s.clientMPTCP.MPTCP || !mptcp.Embryonic(s.pair.Ends[relay.Client].FD) {
		return
	}
	w.embryos = append(w.embryos, s)
	if len(w.embryos) == 1 {
		w.loop.Arm(&w.hatching, w.loop.Now().Add(embryoTick))
	}
}

// hatch pushes for those whose handshake is over.
func (w *worker) hatch() {
	left := w.embryos[:0]
	for _, s := range w.embryos {
		switch fd := s.pair.Ends[relay.Client].FD; {
		case s.phase == closed:
		case mptcp.Embryonic(fd):
			left = append(left, s)
		default:
			_ = mptcp.Push(fd) // it has failed: its session will find that
		}
	}
	clear(w.embryos[len(left):])
	if w.embryos = left; len(left) > 0 {
		w.loop.Arm(&w.hatching, w.loop.Now().Add(embryoTick))
	}
}
