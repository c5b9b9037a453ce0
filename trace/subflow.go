// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// maxSubflows bounds how many subflows of a connection are told one by one.
const maxSubflows = 4096

// subflow is what is known of a flow of an MPTCP connection.
type subflow struct {
	opener     side // side of the connection that sent the SYN
	ends       [2]netip.AddrPort
	start      instant // the first SYN
	last       instant
	syns       int
	synacks    int
	acked      bool // the ACK after the SYN-ACK was seen
	headless   bool // the SYN-ACK was not
	handshake  Millis
	early      int  // bytes in the SYN
	plainSYN   bool // a later SYN did not ask for MPTCP
	opening    Opening
	ids        [2]uint8
	nonces     [2]uint32
	backup     bool
	later      bool // by MP_PRIO
	priorities int
	halves     [2]half
	finPlace   [2]uint64
	acks       [2]uint64 // place that the peer of a side has acknowledged
	close      Close
	replaced   bool // its addresses and ports are used again
	// bare counts segments in sequence without MPTCP option.
	bare int
}

func newSubflow(opener side, s *packet.Segment, now instant) *subflow {
	f := &subflow{opener: opener, start: now, last: now, syns: 1, early: s.Len, opening: NotAnswered, close: Close{How: NotClosed}}
	f.ends[opener], f.ends[opener.other()] = s.Src, s.Dst
	h := &f.halves[opener]
	h.first, h.known, h.sent = s.Seq+1, true, uint64(s.Len)
	return f
}

// side of the connection that is one of the flow: client is who sent the SYN.
func (f *subflow) side(of side) side {
	if f.opener == client {
		return of
	}
	return of.other()
}

// synAgain takes a SYN that is sent again.
func (f *subflow) synAgain(s *packet.Segment) {
	f.syns++
	f.halves[f.opener].sent += uint64(s.Len)
	if _, is := s.Options.Find(wire.Kind); !is && !s.OptionsCut {
		f.plainSYN = true
	}
}

// openSubflow adds a subflow to a connection.
func (a *Analyzer) openSubflow(c *conn, key flowKey, swapped bool, s *packet.Segment, join wire.Join) {
	if len(c.flows) >= maxSubflows {
		c.mp.left++
		return
	}
	opener := c.mp.sideOf(join.Token).other()
	sub := newSubflow(opener, s, a.now)
	sub.ids[opener], sub.nonces[opener], sub.backup = join.AddressID, join.Nonce, join.Backup
	a.addFlow(c, key, swapped, s).sub = sub
	c.last = a.now
	a.touch(c, &a.live)
}

// synack takes the answer to a SYN.
func (a *Analyzer) synack(f *flow, s *packet.Segment) {
	sub := f.sub
	sub.synacks++
	if sub.synacks > 1 || sub.headless {
		return
	}
	answerer := sub.opener.other()
	h := &sub.halves[answerer]
	h.first, h.known = s.Seq+1, true
	sub.opening = NotConfirmed
	if f == f.conn.flows[0] {
		a.capableAnswer(f, s)
	} else {
		a.joinAnswer(f, s)
	}
	if n := int32(s.Ack - sub.halves[sub.opener].first); n > 0 && int(n) <= sub.early {
		sub.accepted(uint64(n), f.conn.mp)
	}
}

// joinAnswer takes the SYN-ACK of a further subflow.
func (a *Analyzer) joinAnswer(f *flow, s *packet.Segment) {
	sub := f.sub
	answerer := sub.opener.other()
	data, is := s.Options.MPTCP(wire.MPJoin)
	join, ok := wire.ParseJoin(data)
	switch {
	case is && ok && join.Step == wire.JoinSYNACK:
		sub.ids[answerer], sub.nonces[answerer] = join.AddressID, join.Nonce
		sub.backup = sub.backup || join.Backup
		a.authenticate(f, join.HMAC)
	case is:
		a.counts.Malformed++
	case !s.OptionsCut:
		sub.opening = Stripped
	}
}

// accepted notes that the other side has taken data in the SYN, which mappings
// do not count.
func (f *subflow) accepted(n uint64, m *multi) {
	h := &f.halves[f.opener]
	h.seen.add(0, n, func(uint64, uint64) {})
	h.offset = n
	m.data[f.opener].early += n
}

// authenticate moves a subflow to another connection with the same token if the
// answer to its SYN shows that it belongs there.
func (a *Analyzer) authenticate(f *flow, code []byte) {
	sub := f.sub
	answerer := sub.opener.other()
	right := func(m *multi) (known, right bool) {
		local, remote := &m.data[answerer], &m.data[sub.opener]
		if !local.known || !remote.known {
			return false, false
		}
		want := wire.JoinCode(m.version, local.key, remote.key, sub.nonces[answerer], sub.nonces[sub.opener])
		return true, bytes.HasPrefix(want, code)
	}
	known, ok := right(f.conn.mp)
	if !known || ok {
		return
	}
	for _, o := range a.tokens[f.conn.mp.tokens[answerer]] {
		if _, ok := right(o.conn.mp); ok && o.conn != f.conn && o.side == answerer {
			f.conn.flows = slices.DeleteFunc(f.conn.flows, func(other *flow) bool { return other == f })
			f.conn = o.conn
			o.conn.flows = append(o.conn.flows, f)
			a.touch(o.conn, &a.live)
			return
		}
	}
	sub.opening = Unauthentic
}

// confirm takes the first segment of who sent the SYN after the SYN-ACK.
func (a *Analyzer) confirm(f *flow, s *packet.Segment) {
	sub := f.sub
	sub.acked = true
	if sub.syns == 1 && sub.synacks == 1 {
		sub.handshake = Millis(a.now.since(sub.start))
	}
	if f == f.conn.flows[0] {
		a.capableACK(f, s)
		return
	}
	if sub.opening == NotConfirmed { // neither stripped nor unauthentic
		sub.opening = Established
	}
}

// closed notes how a subflow ended.
func (a *Analyzer) closed(f *flow, how Close) {
	f.sub.close = how
	a.settle(f.conn)
}

// settle ends a connection all of whose subflows are over, unless another one may
// come.
func (a *Analyzer) settle(c *conn) {
	for _, f := range c.flows {
		if !f.sub.over() {
			return
		}
	}
	m := c.mp
	if !m.multipath() || m.data[client].fin && m.data[server].fin || m.fastClose {
		a.end(c, c.lastEnding())
	} else {
		a.touch(c, &a.lonely)
	}
}

// over tells that nothing more is to be expected of a subflow.
func (f *subflow) over() bool {
	return f.close.How != NotClosed || !f.acked || f.replaced
}
