// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"net/netip"
)

// flowKey is the pair of addresses and ports of a flow, whichever sends.
type flowKey struct{ low, high [18]byte }

func keyOf(src, dst netip.AddrPort) (k flowKey, swapped bool) {
	from, to := endOf(src), endOf(dst)
	if bytes.Compare(from[:], to[:]) > 0 {
		return flowKey{to, from}, true
	}
	return flowKey{from, to}, false
}

func endOf(a netip.AddrPort) (b [18]byte) {
	addr := a.Addr().As16()
	copy(b[:], addr[:])
	b[16], b[17] = byte(a.Port()>>8), byte(a.Port())
	return b
}

// kind tells what is known of a connection.
type kind uint8

const (
	plain     kind = iota // TCP
	headless              // TCP without SYN in the capture
	stray                 // a subflow of a connection that is not in the capture
	multipath             // that asked for MPTCP
	over
)

// conn is a TCP or MPTCP connection.
type conn struct {
	kind          kind
	headlessMPTCP bool
	start, last   instant
	flows         []*flow
	mp            *multi // of multipath only

	list       *list
	prev, next *conn
	touched    instant
}

// flow is a TCP connection, or a subflow.
type flow struct {
	key     flowKey
	swapped bool // the key, in segments of who sent the SYN
	synced  bool // the SYN was seen
	isn     uint32
	fins    [2]bool // by who sent the SYN and by its peer; not of multipath connections
	conn    *conn
	sub     *subflow // of multipath connections only
}

// from tells who sent a segment: client is who sent the SYN.
func (f *flow) from(swapped bool) side {
	if swapped == f.swapped {
		return client
	}
	return server
}

// list is a list of connections.
type list struct {
	front, back *conn
	n           int
}

func (l *list) append(c *conn) {
	c.list, c.prev, c.next = l, l.back, nil
	if l.back == nil {
		l.front = c
	} else {
		l.back.next = c
	}
	l.back = c
	l.n++
}

func (l *list) remove(c *conn) {
	if c.prev == nil {
		l.front = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.back = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.list, c.prev, c.next = nil, nil, nil
	l.n--
}
