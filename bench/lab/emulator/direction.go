// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"
)

const (
	// segments is the most packets that one read may yield: the largest GSO
	// packet that a device may be given.
	segments = 128
	// batch is the most packets of one write.
	batch = 128
	// grain is the least time between two writes: packets that are due within
	// it are delivered together, later by that much at most, which lets fast
	// links be carried in large segments.
	grain = 250 * time.Microsecond
	// maxPacket is the largest IP packet.
	maxPacket = 65535
)

// direction carries packets from one device to the other.
type direction struct {
	from, to tun.Device
	clock    func() time.Duration
	alarm    *alarm

	mu     sync.Mutex
	closed bool
	line   *line
	armed  time.Duration // when the alarm goes off, or never
}

// set changes the conditions.
func (d *direction) set(c Conditions) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.set(c, d.clock())
	d.arm(0)
}

// flush loses what is under way.
func (d *direction) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.flush()
}

func (d *direction) read() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.advance(d.clock())
	s := d.line.stats
	s.QueuePackets, s.QueueBytes = d.line.queue.packets, d.line.queue.bytes
	s.FlyingPackets = d.line.flying.packets
	return s
}

// arm sets the alarm for the next thing to do, not before the given time.
// d.mu is held.
func (d *direction) arm(notBefore time.Duration) {
	next := d.line.next()
	if d.closed || next == never {
		return
	}
	if next = max(next, notBefore); next < d.armed {
		d.armed = next
		d.alarm.after(next - d.clock())
	}
}

// receive reads packets from the sending host until its device is closed.
func (d *direction) receive() {
	packets := make([]*packet, segments)
	bufs := make([][]byte, segments)
	sizes := make([]int, segments)
	used := segments // slots whose packet is on its way
	for {
		d.mu.Lock()
		for i := range used {
			packets[i] = d.line.pool.take()
			bufs[i] = packets[i].buf
		}
		d.mu.Unlock()
		n, err := d.from.Read(bufs, sizes, headroom)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		used = max(n, 0)
		d.mu.Lock()
		if err != nil {
			d.line.stats.DroppedInvalid++
		}
		now := d.clock()
		for i := range used {
			packets[i].size = sizes[i]
			d.line.push(packets[i], now)
		}
		d.arm(0)
		d.mu.Unlock()
	}
}

// deliver hands packets to the receiving host when they are due, until the
// alarm is closed.
func (d *direction) deliver() {
	// Packets are copied, because the device joins segments of TCP in place and
	// needs room for that behind the first.
	out := make([][]byte, batch)
	for i := range out {
		out[i] = make([]byte, 0, headroom+maxPacket)
	}
	for d.alarm.wait() == nil {
		for d.deliverBatch(out) == batch {
		}
	}
}

// deliverBatch delivers what is due, at most as much as out has room for, and
// returns how many packets these were.
func (d *direction) deliverBatch(out [][]byte) int {
	d.mu.Lock()
	now := d.clock()
	n, bytes := 0, 0
	for n < len(out) {
		p := d.line.pop(now)
		if p == nil {
			break
		}
		out[n] = append(out[n][:0], p.buf[:headroom+p.size]...)
		bytes += p.wire()
		d.line.pool.put(p)
		n++
	}
	if n < len(out) {
		d.armed = never
		d.arm(now + grain)
	}
	d.mu.Unlock()
	if n == 0 {
		return 0
	}
	_, err := d.to.Write(out[:n], headroom)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		// The device is down, and the packets are lost.
		d.line.stats.DroppedDown += uint64(n)
		return n
	}
	d.line.stats.Packets += uint64(n)
	d.line.stats.Bytes += uint64(bytes)
	return n
}

func (d *direction) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return d.alarm.close()
}
