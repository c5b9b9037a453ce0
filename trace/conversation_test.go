// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

var be = binary.BigEndian

// conversation makes the segments of connections that a kernel would not.
type conversation struct {
	all []packet.Segment
	now time.Time
	// Keys of client and server.
	keys    [2]uint64
	version uint8
}

func newConversation(version uint8) *conversation {
	return &conversation{now: time.Unix(1_700_000_000, 0), keys: [2]uint64{0x1111111111111111, 0x2222222222222222}, version: version}
}

// after lets time pass.
func (c *conversation) after(d time.Duration) *conversation {
	c.now = c.now.Add(d)
	return c
}

// line is a TCP connection of a conversation.
type line struct {
	c    *conversation
	ends [2]netip.AddrPort
	next [2]uint32 // sequence numbers
}

const clientSide, serverSide = 0, 1

func (c *conversation) line(client, server string) *line {
	return &line{c, [2]netip.AddrPort{netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)}, [2]uint32{1000, 0xfffffff0}}
}

// send sends a segment; SYN and FIN take a place.
func (l *line) send(from int, flags packet.Flags, n int, options ...[]byte) {
	l.again(from, l.next[from], flags, n, options...)
	l.next[from] += uint32(n)
	if flags&(packet.SYN|packet.FIN) != 0 {
		l.next[from]++
	}
}

// again sends a segment with a sequence number.
func (l *line) again(from int, seq uint32, flags packet.Flags, n int, options ...[]byte) {
	var list packet.Options
	for _, data := range options {
		list = append(append(list, wire.Kind, byte(len(data)+2)), data...)
	}
	for len(list)%4 != 0 {
		list = append(list, 1)
	}
	l.c.all = append(l.c.all, packet.Segment{
		Time: l.c.now, Src: l.ends[from], Dst: l.ends[1-from], Seq: seq, Ack: l.next[1-from], Flags: flags, Options: list, Len: n,
	})
	l.c.after(time.Millisecond)
}

// capable is an MP_CAPABLE option with keys of some sides.
func (c *conversation) capable(sides ...int) []byte {
	b := []byte{byte(wire.MPCapable)<<4 | c.version, 1}
	for _, s := range sides {
		b = be.AppendUint64(b, c.keys[s])
	}
	return b
}

// dss is a DSS option: DATA_ACK of a place of the peer's stream and mapping of n
// bytes at a place of the sender's, without one if n is negative.
func (c *conversation) dss(from int, ack uint64, subflow uint32, at uint64, n int, fin bool) []byte {
	first := func(side int) uint64 {
		_, idsn := wire.Derive(c.version, c.keys[side])
		return idsn + 1
	}
	b := be.AppendUint64([]byte{byte(wire.DSS) << 4, 3}, first(1-from)+ack)
	if n < 0 {
		return b
	}
	b[1] |= 0x0c
	b = be.AppendUint64(b, first(from)+at)
	b = be.AppendUint32(b, subflow)
	if fin {
		b[1] |= 0x10
		n++
	}
	return be.AppendUint16(b, uint16(n))
}

// join is the MP_JOIN option of a step of the handshake that the client begins.
func (c *conversation) join(step wire.JoinStep) []byte {
	const here, there = 7, 8
	switch step {
	case wire.JoinSYN:
		token, _ := wire.Derive(c.version, c.keys[serverSide])
		return be.AppendUint32(be.AppendUint32([]byte{byte(wire.MPJoin) << 4, 2}, token), here)
	case wire.JoinSYNACK:
		code := wire.JoinCode(c.version, c.keys[serverSide], c.keys[clientSide], there, here)
		return be.AppendUint32(append([]byte{byte(wire.MPJoin) << 4, 0}, code[:8]...), there)
	}
	code := wire.JoinCode(c.version, c.keys[clientSide], c.keys[serverSide], here, there)
	return append([]byte{byte(wire.MPJoin) << 4, 0}, code[:20]...)
}

// open makes the handshake of a first subflow.
func (c *conversation) open(l *line) {
	if c.version == 0 {
		l.send(clientSide, packet.SYN, 0, c.capable(clientSide))
	} else {
		l.send(clientSide, packet.SYN, 0, c.capable())
	}
	l.send(serverSide, packet.SYN|packet.ACK, 0, c.capable(serverSide))
	l.send(clientSide, packet.ACK, 0, c.capable(clientSide, serverSide))
}

// openJoin makes that of a further one.
func (c *conversation) openJoin(l *line) {
	l.send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN))
	l.send(serverSide, packet.SYN|packet.ACK, 0, c.join(wire.JoinSYNACK))
	l.send(clientSide, packet.ACK, 0, c.join(wire.JoinACK))
	l.send(serverSide, packet.ACK, 0, c.dss(serverSide, 0, 0, 0, -1, false))
}

// end closes a line in order.
func (l *line) end(from int) {
	l.send(from, packet.FIN|packet.ACK, 0)
	l.send(1-from, packet.FIN|packet.ACK, 0)
	l.send(from, packet.ACK, 0)
}

// told is what an analyzer tells of segments.
func told(o trace.Options, segments []packet.Segment) analyzed {
	var all analyzed
	a := trace.New(o, func(c *trace.Connection) { all.connections = append(all.connections, c) })
	for i := range segments {
		a.Segment(&segments[i])
	}
	a.Close()
	all.counts = a.Counts()
	return all
}
