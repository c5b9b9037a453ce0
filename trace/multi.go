// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"

	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// multi is what is known of a connection that asked for MPTCP.
type multi struct {
	number    uint64
	version   uint8
	checksum  bool
	outcome   Outcome
	fallback  Reason
	data      [2]data // by the side that sends
	tokens    [2]uint32
	fastClose bool
	fails     int
	left      int
	announced []Announcement
	removed   []Removal
}

// maxAddresses bounds how many announcements, and removals, are told.
const maxAddresses = 256

// multipath tells that both sides speak MPTCP.
func (m *multi) multipath() bool { return m.outcome == Multipath }

// signals tells that data has mappings, as also before the ACK of the client,
// for which a server need not wait after Fast Open.
func (m *multi) signals() bool {
	return m.multipath() || m.outcome == Aborted && m.fallback == ""
}

func (m *multi) sideOf(token uint32) side {
	if m.data[server].known && m.tokens[server] == token {
		return server
	}
	return client
}

// has tells whether a side has an address, as far as the capture shows.
func (c *conn) has(s side, addr netip.Addr) bool {
	for _, f := range c.flows {
		if f.sub.ends[s].Addr() == addr {
			return true
		}
	}
	for _, a := range c.mp.announced {
		if a.By == s.String() && a.Addr == addr {
			return true
		}
	}
	return false
}

// learn notes the key of a side.
func (a *Analyzer) learn(c *conn, s side, key uint64) {
	d := &c.mp.data[s]
	if d.known {
		return
	}
	token, idsn := wire.Derive(c.mp.version, key)
	d.key, d.known, d.first = key, true, idsn+1
	c.mp.tokens[s] = token
	a.register(c, s, token)
}

// openMultipath begins a connection whose SYN asks for MPTCP.
func (a *Analyzer) openMultipath(key flowKey, swapped bool, s *packet.Segment, capable wire.Capable) {
	a.counts.MPTCP++
	f := a.open(key, swapped, s, multipath)
	f.sub = newSubflow(client, s, a.now)
	c := f.conn
	c.mp = &multi{number: a.counts.MPTCP, version: capable.Version, checksum: capable.Checksum, outcome: Unanswered}
	if capable.Keys > 0 { // version 0
		a.learn(c, client, capable.SenderKey)
	}
	a.touch(c, &a.attempts)
}

// capableAnswer takes the SYN-ACK of the first subflow.
func (a *Analyzer) capableAnswer(f *flow, s *packet.Segment) {
	c, sub := f.conn, f.sub
	c.mp.outcome = Aborted
	data, is := s.Options.MPTCP(wire.MPCapable)
	capable, ok := wire.ParseCapable(data)
	switch {
	case is && ok && capable.Keys > 0:
		c.mp.version = capable.Version
		c.mp.checksum = c.mp.checksum || capable.Checksum
		a.learn(c, server, capable.SenderKey)
	case is:
		a.counts.Malformed++
	case s.OptionsCut:
	case sub.plainSYN:
		c.mp.fallback = PlainSYN
	default:
		c.mp.fallback = NoCapableSYNACK
	}
}

// capableACK takes the first segment of the client after the SYN-ACK.
func (a *Analyzer) capableACK(f *flow, s *packet.Segment) {
	c, sub := f.conn, f.sub
	sub.opening = Established
	if c.mp.fallback != "" {
		c.mp.outcome = FellBack
		return
	}
	c.mp.outcome = Multipath
	// Another option than MP_CAPABLE shows that the ACK is missing in the capture.
	if _, is := s.Options.Find(wire.Kind); !is && !s.OptionsCut {
		c.fallBack(NoCapableACK)
	}
}

// fallBack notes that a connection is TCP from now on.
func (c *conn) fallBack(why Reason) {
	m := c.mp
	if m.outcome == FellBack {
		return
	}
	if m.fails > 0 {
		why = ChecksumFailed
	}
	m.outcome, m.fallback = FellBack, why
	for _, f := range c.flows {
		for s := range f.sub.halves {
			h := &f.sub.halves[s]
			for _, w := range h.waiting {
				m.data[s].plain += w.end - w.start
			}
			h.waiting = nil
		}
	}
}

// lastEnding is how a connection ended all of whose subflows have.
func (c *conn) lastEnding() Ending {
	m := c.mp
	switch {
	case m.fastClose:
		return FastClose
	case m.multipath() && m.data[client].fin && m.data[server].fin:
		return DataFIN
	}
	var last *subflow
	for _, f := range c.flows {
		if f.sub.acked && (last == nil || f.sub.last >= last.last) {
			last = f.sub
		}
	}
	switch {
	case last == nil || last.close.How == ByReset:
		return TCPReset
	case last.replaced:
		return Replaced
	}
	return TCPFIN
}
