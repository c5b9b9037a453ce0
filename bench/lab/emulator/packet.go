// SPDX-License-Identifier: Apache-2.0

package emulator

import "time"

// headroom is what a TUN device needs in front of a packet for its
// virtio_net_hdr.
const headroom = 16

// frameHeader is what Ethernet would add to a packet. It counts for rate,
// queue and counters, so that they mean the same as on a veth.
const frameHeader = 14

// packet is one packet on its way through a line.
type packet struct {
	buf  []byte // headroom and the packet, at its full capacity
	size int    // of the packet
	due  time.Duration
	next *packet
}

func (p *packet) wire() int { return p.size + frameHeader }

// fifo is a queue of packets, linked through themselves.
type fifo struct {
	head, tail *packet
	packets    int
	bytes      int // on the wire
}

func (f *fifo) push(p *packet) {
	p.next = nil
	if f.tail == nil {
		f.head = p
	} else {
		f.tail.next = p
	}
	f.tail = p
	f.packets++
	f.bytes += p.wire()
}

func (f *fifo) pop() *packet {
	p := f.head
	if p == nil {
		return nil
	}
	f.head = p.next
	if f.head == nil {
		f.tail = nil
	}
	p.next = nil
	f.packets--
	f.bytes -= p.wire()
	return p
}

// pool keeps packets that are not on their way.
type pool struct {
	free fifo
	size int // of a buffer
}

func (l *pool) take() *packet {
	if p := l.free.pop(); p != nil {
		return p
	}
	return &packet{buf: make([]byte, l.size)}
}

func (l *pool) put(p *packet) {
	p.size = 0
	l.free.push(p)
}
