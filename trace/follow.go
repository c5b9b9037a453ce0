// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"

	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// bareSegments are how many segments in sequence without MPTCP option show that
// a connection with one subflow has fallen back: each segment of MPTCP has one.
const bareSegments = 8

// follow takes a segment, other than a SYN, of a connection that asked for MPTCP.
// from is the side of the flow that sends.
func (a *Analyzer) follow(f *flow, from side, s *packet.Segment) {
	sub := f.sub
	if sub.close.How != NotClosed {
		return
	}
	sub.last = a.now
	at := sub.side(from)
	if s.IsSYNACK() {
		if from == server {
			a.synack(f, s)
		}
		return
	}
	c := f.conn
	reset := s.Flags&packet.RST != 0
	if reset && !sub.acked {
		a.read(f, at, s)
		a.refused(f, at, s)
		return
	}
	if sub.synacks == 0 && !sub.headless {
		sub.opening, sub.headless, sub.acked = NotInCapture, true, true
		if f == c.flows[0] {
			c.mp.outcome = Incomplete
		}
	}
	if from == client && !sub.acked && s.Flags&packet.ACK != 0 {
		a.confirm(f, s)
	}
	signal := a.read(f, at, s)
	if reset {
		a.reset(f, at, s)
		return
	}
	if signal.Acked {
		a.dataACK(c, at, &signal)
	}
	a.payload(f, at, s, signal)
	a.acknowledge(f, at, s)
	a.fins(f, at, s)
}

// refused takes a RST before a subflow is established.
func (a *Analyzer) refused(f *flow, at side, s *packet.Segment) {
	sub := f.sub
	if sub.synacks == 0 {
		sub.opening = NotAccepted
	}
	sub.close.How, sub.close.By = ByReset, at.String()
	sub.acked = true
	c := f.conn
	if f != c.flows[0] {
		a.closed(f, sub.close)
		return
	}
	if c.mp.outcome == Unanswered {
		c.mp.outcome = Refused
	}
	a.end(c, TCPReset)
}

// reset takes a RST of an established subflow, which ends it if it is where the
// receiver expects it (RFC 5961, section 3.2).
func (a *Analyzer) reset(f *flow, at side, s *packet.Segment) {
	sub := f.sub
	h := &sub.halves[at]
	place, ok := h.place(s.Seq)
	if h.known && (!ok || place != sub.acks[at] && place != h.seen.end() && (!h.finished || place != sub.finPlace[at]+1)) {
		a.counts.Doubted++
		return
	}
	how := sub.close
	how.How, how.By = ByReset, at.String()
	if f.conn.mp.fastClose {
		how.How = ByFastClose
	}
	a.closed(f, how)
}

// read takes the MPTCP options of a segment and returns its DSS, if there is one.
func (a *Analyzer) read(f *flow, at side, s *packet.Segment) (signal wire.Signal) {
	c, sub := f.conn, f.sub
	if !c.mp.signals() && c.mp.outcome != Incomplete {
		return signal
	}
	any := false
	for kind, data := range s.Options.All() {
		if kind != wire.Kind {
			continue
		}
		any = true
		subtype, _ := wire.SubtypeOf(data)
		ok := true
		switch subtype {
		case wire.MPCapable:
			var capable wire.Capable
			if capable, ok = wire.ParseCapable(data); ok && capable.Keys == 2 && at == client {
				a.learn(c, client, capable.SenderKey)
				a.learn(c, server, capable.ReceiverKey)
				if capable.Mapped { // the first bytes of the stream
					signal = wire.Signal{Mapped: true, DSN: c.mp.data[at].first, DSN64: true, Subflow: 1, Length: capable.DataLen}
				}
			}
		case wire.MPJoin:
			_, ok = wire.ParseJoin(data)
		case wire.DSS:
			signal, ok = wire.ParseSignal(data)
		default:
			ok = a.control(c, sub, at, subtype, data)
		}
		if !ok {
			a.counts.Malformed++
		}
	}
	if any || s.OptionsCut {
		sub.bare = 0
	} else {
		sub.bare++
	}
	return signal
}

// control takes an option other than those of handshakes and data.
func (a *Analyzer) control(c *conn, sub *subflow, at side, subtype wire.Subtype, data []byte) (ok bool) {
	m := c.mp
	since := Millis(a.now.since(c.start))
	switch subtype {
	case wire.AddAddr:
		var address wire.Address
		address, ok = wire.ParseAddress(data)
		if ok && !address.Echo {
			m.announce(Announcement{By: at.String(), ID: address.ID, Addr: address.Addr, Port: address.Port, At: since})
		}
	case wire.RemoveAddr:
		var ids []byte
		if ids, ok = wire.ParseRemoved(data); ok {
			for _, id := range ids {
				m.remove(Removal{By: at.String(), ID: id, At: since})
			}
		}
	case wire.MPPrio:
		var p wire.Priority
		if p, ok = wire.ParsePriority(data); ok {
			sub.priorities++
			sub.later = p.Backup
		}
	case wire.MPFail:
		if _, ok = wire.ParseFail(data); ok {
			m.fails++
		}
	case wire.MPFastClose:
		if _, ok = wire.ParseFastClose(data); ok {
			m.fastClose = true
		}
	case wire.MPTCPRst:
		var r wire.Reset
		if r, ok = wire.ParseReset(data); ok {
			sub.close.Reason, sub.close.Transient = r.Reason.String(), r.Transient
		}
	}
	return ok
}

// announce keeps an announcement that is not the repetition of the last one with
// its ID.
func (m *multi) announce(a Announcement) {
	for _, old := range slices.Backward(m.announced) {
		if old.By == a.By && old.ID == a.ID {
			if old.Addr == a.Addr && old.Port == a.Port && !m.removedSince(a.By, a.ID, old.At) {
				return
			}
			break
		}
	}
	if len(m.announced) < maxAddresses {
		m.announced = append(m.announced, a)
	}
}

func (m *multi) removedSince(by string, id uint8, at Millis) bool {
	return slices.ContainsFunc(m.removed, func(r Removal) bool { return r.By == by && r.ID == id && r.At >= at })
}

// remove keeps a removal that is not the repetition of another one.
func (m *multi) remove(r Removal) {
	var announced Millis = -1
	for _, a := range m.announced {
		if a.By == r.By && a.ID == r.ID {
			announced = a.At
		}
	}
	if !m.removedSince(r.By, r.ID, announced) && len(m.removed) < maxAddresses {
		m.removed = append(m.removed, r)
	}
}

// payload takes the data of a segment.
func (a *Analyzer) payload(f *flow, at side, s *packet.Segment, signal wire.Signal) {
	c, sub := f.conn, f.sub
	m := c.mp
	h, d := &sub.halves[at], &m.data[at]
	var now mapping // none
	if signal.Infinite() {
		c.fallBack(InfiniteMapping)
	} else if signal.Mapped {
		now = h.mapping(d, &signal, s)
	}
	if s.Len > 0 {
		a.bytes(c, h, d, s, now)
	}
	if len(c.flows) == 1 && sub.bare >= bareSegments && m.multipath() {
		c.fallBackBare(sub)
	}
}

// fallBackBare notes that segments are without MPTCP options.
func (c *conn) fallBackBare(sub *subflow) {
	for s := range sub.halves {
		if sub.halves[s].seen.seen > sub.halves[s].offset && !c.mp.data[s].mapped {
			c.fallBack(NoSignal)
			return
		}
	}
	c.fallBack(SignalCeased)
}

// mapping places a mapping, notes its DATA_FIN, and keeps it if the segment does
// not hold all that it maps. An empty mapping is none.
func (h *half) mapping(d *data, signal *wire.Signal, s *packet.Segment) mapping {
	at, ok := d.place(signal.DSN, signal.DSN64)
	if !ok {
		d.strange++
		return mapping{}
	}
	d.mapped = true
	length := uint64(signal.Length)
	if signal.Fin {
		length--
		d.fin, d.finAt = true, at+length
	}
	if length == 0 || !h.known {
		return mapping{}
	}
	// The mapping's place in the subflow, near that of the segment.
	place, ok := h.place(h.first + signal.Subflow - 1 + uint32(h.offset))
	if !ok {
		d.strange++
		return mapping{}
	}
	m := mapping{span{place, place + length}, at}
	if start, ok := h.place(s.Seq); !ok || start > m.start || start+uint64(s.Len) < m.end {
		h.remember(m)
	}
	waiting := h.waiting
	h.waiting = nil
	for _, w := range waiting {
		h.mapped(w, m, func(s span) { d.carry(h, s) }, h.wait)
	}
	return m
}

// bytes takes what a segment carries.
func (a *Analyzer) bytes(c *conn, h *half, d *data, s *packet.Segment, now mapping) {
	h.sent += uint64(s.Len)
	if !h.known {
		return
	}
	start, ok := h.place(s.Seq)
	if !ok {
		return
	}
	end, before := start+uint64(s.Len), h.seen.end()
	repeated := uint64(s.Len)
	dataEnd, dataSeen := d.seen.end(), d.seen.seen
	h.seen.add(start, end, func(start, end uint64) {
		repeated -= end - start
		if end <= before {
			h.late += end - start
		}
		if !c.mp.signals() {
			d.plain += end - start
			return
		}
		h.mapped(span{start, end}, now, func(s span) { d.carry(h, s) }, h.wait)
	})
	if repeated > 0 || start < before {
		h.probe.again()
	} else {
		h.probe.send(end, a.now)
	}
	if d.seen.seen-dataSeen != end-start {
		d.probe.again()
	} else if d.seen.end() > dataEnd {
		d.probe.send(d.seen.end(), a.now)
	}
}

// carry takes bytes of the connection's stream that a subflow carries.
func (d *data) carry(h *half, s span) {
	fresh := uint64(0)
	d.seen.add(s.start, s.end, func(start, end uint64) { fresh += end - start })
	h.reinjected += s.end - s.start - fresh
}

// acknowledge takes the acknowledgment of a segment.
func (a *Analyzer) acknowledge(f *flow, at side, s *packet.Segment) {
	sub := f.sub
	h := &sub.halves[at.other()]
	if s.Flags&packet.ACK == 0 || !h.known {
		return
	}
	if place, ok := h.place(s.Ack); ok && place > sub.acks[at.other()] {
		sub.acks[at.other()] = place
		h.probe.acknowledge(place, a.now, a.random)
	}
}

// dataACK takes a data acknowledgment.
func (a *Analyzer) dataACK(c *conn, at side, signal *wire.Signal) {
	d := &c.mp.data[at.other()]
	if place, ok := d.place(signal.Ack, signal.Ack64); ok {
		d.probe.acknowledge(place, a.now, a.random)
	}
}

// fins takes the FIN of a segment; a subflow is closed when both are
// acknowledged.
func (a *Analyzer) fins(f *flow, at side, s *packet.Segment) {
	sub := f.sub
	if s.Flags&packet.FIN != 0 && !sub.halves[at].finished {
		h := &sub.halves[at]
		h.finished = true
		if place, ok := h.place(s.Seq + uint32(s.Len)); ok {
			sub.finPlace[at] = place
		}
		if sub.close.By == "" {
			sub.close.By = at.String()
		}
	}
	for s := range sub.halves {
		if h := &sub.halves[s]; !h.finished || h.known && sub.acks[s] <= sub.finPlace[s] {
			return
		}
	}
	a.closed(f, Close{How: ByFIN, By: sub.close.By})
}
