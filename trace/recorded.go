// SPDX-License-Identifier: Apache-2.0

package trace

// record is what is told of a connection that is over.
func (c *conn) record(how Ending) *Connection {
	m := c.mp
	c.judge()
	first := c.flows[0].sub
	r := &Connection{
		Number: m.number, Start: c.start.time(), Duration: Millis(c.last.since(c.start)),
		Outcome: m.outcome, Fallback: m.fallback, Ending: how,
		Version: m.version, Client: first.ends[client], Server: first.ends[server],
		ClientToken: Token(m.tokens[client]), ServerToken: Token(m.tokens[server]),
		Checksum: m.checksum, FastOpen: m.data[client].early > 0,
		Up: m.data[client].record(), Down: m.data[server].record(),
		Left: m.left, Announced: m.announced, Removed: m.removed, Fails: m.fails,
	}
	for i, f := range c.flows {
		told := f.sub.record()
		if i > 0 {
			told.Join = Millis(f.sub.start.since(c.start))
		}
		r.Subflows = append(r.Subflows, told)
		for s, d := range []*Data{&r.Up, &r.Down} {
			h := &f.sub.halves[s]
			d.Retransmitted += h.retransmitted()
			d.Reinjected += h.reinjected
			d.Unmapped += h.left()
		}
	}
	return r
}

// judge decides what became of a connection that was too short to tell before.
func (c *conn) judge() {
	m := c.mp
	if !m.multipath() || len(c.flows) > 1 || c.flows[0].sub.bare == 0 {
		return
	}
	for s := range m.data {
		h, d := &c.flows[0].sub.halves[s], &m.data[s]
		if d.known && !d.mapped && d.strange == 0 && h.seen.seen > h.offset {
			c.fallBack(NoSignal)
			return
		}
	}
}

func (d *data) record() Data {
	return Data{Bytes: d.bytes(), Missing: d.missing(), Ended: d.fin, RTT: d.probe.rtt()}
}

// retransmitted are bytes that were seen again.
func (h *half) retransmitted() uint64 {
	if !h.known {
		return 0
	}
	return h.sent - min(h.sent, h.seen.seen)
}

// left are bytes without mapping.
func (h *half) left() uint64 {
	n := h.unmapped
	for _, w := range h.waiting {
		n += w.end - w.start
	}
	return n
}

func (h *half) record() Flow {
	f := Flow{
		Bytes: h.seen.seen, Missing: h.seen.missing(), Retransmitted: h.retransmitted(),
		Late: h.late, Reinjected: h.reinjected, RTT: h.probe.rtt(),
	}
	if !h.known { // where the stream starts is not known
		f.Bytes = h.sent
	}
	return f
}

func (f *subflow) record() Subflow {
	s := Subflow{
		Client: f.ends[client], Server: f.ends[server], OpenedBy: f.opener.String(), Opening: f.opening,
		Duration: Millis(f.last.since(f.start)), SYNs: f.syns, Handshake: f.handshake,
		ClientID: f.ids[client], ServerID: f.ids[server],
		Backup: f.backup, Priorities: f.priorities,
		Up: f.halves[client].record(), Down: f.halves[server].record(), Close: f.close,
	}
	if f.priorities > 0 {
		s.BackupLater = &f.later
	}
	if s.Close.How == NotClosed && (f.halves[client].finished || f.halves[server].finished) {
		s.Close.How = HalfClosed
		if f.halves[client].finished && f.halves[server].finished {
			s.Close.How = ByFIN
		}
	}
	if s.Close.How != ByReset && s.Close.How != ByFastClose {
		s.Close.Reason, s.Close.Transient = "", false
	}
	return s
}
