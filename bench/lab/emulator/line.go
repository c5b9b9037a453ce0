// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"math/rand/v2"
	"time"
)

// maxFlying bounds the memory of a line without a rate, in bytes.
const maxFlying = 256 << 20

// never is later than all times.
const never = time.Duration(1<<63 - 1)

// line decides when packets leave one direction of a link, or that they are
// lost. It has no clock of its own: callers tell it the time, which never goes
// back. It is not safe for concurrent use.
//
// A packet waits in queue for the transmitter, which serialises the head of the
// queue until sent; then it flies until it is due.
type line struct {
	conditions Conditions
	limit      Queue
	random     *rand.Rand
	bad        bool // state of the loss model

	queue  fifo
	begun  time.Duration // when the transmission of the head began
	sent   time.Duration // when it ends; meaningful while queue has a head
	flying fifo          // by due
	last   time.Duration // due of the last packet that flies in order
	ahead  fifo          // packets that have overtaken those in flight
	pool   pool
	stats  Stats
}

func newLine(seed, stream uint64, buffer int) *line {
	return &line{random: rand.New(rand.NewPCG(seed, stream)), pool: pool{size: buffer}}
}

// push takes a packet that has arrived at the line.
func (l *line) push(p *packet, now time.Duration) {
	l.advance(now)
	if l.conditions.Rate == 0 {
		l.launch(p, now)
		return
	}
	if l.limit.Bytes != 0 && l.queue.bytes+p.wire() > int(l.limit.Bytes) ||
		l.limit.Packets != 0 && l.queue.packets >= int(l.limit.Packets) {
		l.stats.DroppedQueue++
		l.pool.put(p)
		return
	}
	l.queue.push(p)
	if l.queue.packets == 1 {
		l.transmit(now)
	}
}

// transmit begins with the head of the queue.
func (l *line) transmit(now time.Duration) {
	l.begun, l.sent = now, now+serialisation(l.queue.head.wire(), l.conditions.Rate)
}

func serialisation(bytes int, rate uint64) time.Duration {
	return time.Duration(uint64(bytes) * 8 * uint64(time.Second) / rate)
}

// advance moves packets whose transmission has ended by now into flight.
func (l *line) advance(now time.Duration) {
	for l.queue.head != nil && l.sent <= now {
		at := l.sent
		l.launch(l.queue.pop(), at)
		if l.queue.head != nil {
			l.transmit(at)
		}
	}
}

// launch sends a packet off that left the transmitter at the given time.
func (l *line) launch(p *packet, at time.Duration) {
	switch c := &l.conditions; {
	case l.lose():
		l.stats.DroppedLoss++
		l.pool.put(p)
	case l.flying.bytes+p.wire() > maxFlying:
		l.stats.DroppedQueue++
		l.pool.put(p)
	case c.Reorder > 0 && l.random.Float64() < c.Reorder:
		l.stats.Reordered++
		p.due = at
		l.ahead.push(p)
	default:
		p.due = at + c.Delay
		if c.Jitter > 0 {
			p.due += time.Duration(l.random.Int64N(2*int64(c.Jitter)+1)) - c.Jitter
		}
		// Also when the delay has become shorter, order is kept.
		p.due = max(p.due, l.last)
		l.last = p.due
		l.flying.push(p)
	}
}

// lose decides about one packet and moves the loss model on.
func (l *line) lose() bool {
	m := &l.conditions.Loss
	if *m == (Loss{}) {
		return false
	}
	p, leave := m.InGood, m.ToBad
	if l.bad {
		p, leave = m.InBad, m.ToGood
	}
	lost := p > 0 && l.random.Float64() < p
	if leave > 0 && l.random.Float64() < leave {
		l.bad = !l.bad
	}
	return lost
}

// pop takes the next packet that is due at the given time, or nil.
func (l *line) pop(now time.Duration) *packet {
	l.advance(now)
	if p := l.ahead.pop(); p != nil {
		return p
	}
	if l.flying.head == nil || l.flying.head.due > now {
		return nil
	}
	return l.flying.pop()
}

// next is when a packet may be due, or never. What happens before that on the
// line needs nobody to look: it is caught up with by advance.
func (l *line) next() time.Duration {
	switch c := &l.conditions; {
	case l.ahead.head != nil:
		return l.ahead.head.due
	case l.queue.head != nil && c.Reorder > 0:
		if l.flying.head != nil {
			return min(l.sent, l.flying.head.due)
		}
		return l.sent
	case l.flying.head != nil:
		return l.flying.head.due
	case l.queue.head != nil:
		return max(l.sent+c.Delay-c.Jitter, l.last)
	default:
		return never
	}
}

// set changes the conditions. What is left of the packet in transmission goes
// on at the new rate, and packets in flight keep their delay.
func (l *line) set(c Conditions, now time.Duration) {
	l.advance(now)
	old := l.conditions.Rate
	l.conditions, l.limit = c, c.limits()
	if c.Loss.ToBad == 0 {
		l.bad = false
	}
	if l.queue.head == nil || c.Rate == old {
		return
	}
	if c.Rate == 0 {
		for p := l.queue.pop(); p != nil; p = l.queue.pop() {
			l.launch(p, now)
		}
		return
	}
	left := float64(l.sent-now) / float64(l.sent-l.begun)
	l.begun, l.sent = now, now+time.Duration(left*float64(serialisation(l.queue.head.wire(), c.Rate)))
	if l.sent <= l.begun {
		l.sent = l.begun + 1
	}
}

// flush loses everything that is on the line.
func (l *line) flush() {
	for _, f := range []*fifo{&l.queue, &l.flying, &l.ahead} {
		for p := f.pop(); p != nil; p = f.pop() {
			l.stats.DroppedDown++
			l.pool.put(p)
		}
	}
	l.last = 0
}
