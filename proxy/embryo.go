// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// embryoTick is how often it is looked whether handshakes have come to their
// end: what an answer that is quicker than them may have to wait at most.
const embryoTick = 5 * time.Millisecond

// embryo is a session whose client's handshake is not over, see mptcp.Embryonic,
// and what it has been told until then. That is not written before, because the
// kernel would forget it if the handshake ended without MPTCP: once its SYN was
// sent again, a Linux client leaves the option out of the third segment (seen
// with 6.18).
type embryo struct {
	s      *session
	unsaid []byte
	last   bool // nothing will follow
}

// watchClient has the loop watch the client of s, and sees to it that it gets what
// it is told before the end of its handshake. There are never more such clients
// than the FastOpen of the listeners allows.
func (w *worker) watchClient(s *session) error {
	client := &s.pair.Ends[relay.Client]
	if s.listener.Socket.FastOpen == 0 || !s.clientMPTCP.MPTCP || !mptcp.Embryonic(client.FD) {
		return w.loop.Register(client, s)
	}
	if err := w.loop.RegisterReading(client, s); err != nil {
		return err
	}
	if w.embryos == nil {
		w.embryos = map[*session]*embryo{}
	}
	w.embryos[s] = &embryo{s: s}
	if len(w.embryos) == 1 {
		w.loop.Arm(&w.hatching, w.loop.Now().Add(embryoTick))
	}
	return nil
}

// hatch goes on with those whose handshake is over.
func (w *worker) hatch() {
	for s, e := range w.embryos {
		client := &s.pair.Ends[relay.Client]
		switch {
		case s.phase == closed || client.FD < 0:
			delete(w.embryos, s)
		case mptcp.Embryonic(client.FD):
		default:
			delete(w.embryos, s)
			e.hatched()
		}
	}
	if len(w.embryos) > 0 {
		w.loop.Arm(&w.hatching, w.loop.Now().Add(embryoTick))
	}
}

// hatched says what was not said.
func (e *embryo) hatched() {
	s := e.s
	client := &s.pair.Ends[relay.Client]
	if len(e.unsaid) > 0 {
		if n, err := relay.Write(client, e.unsaid); n < len(e.unsaid) {
			s.abort(fmt.Errorf("write to client: %w", err))
			return
		}
	}
	if e.last && s.shutdownClient() != nil {
		s.end(s.opening.err, true)
		return
	}
	if err := s.worker.loop.WatchWriting(client); err != nil {
		s.abort(err)
	}
}
