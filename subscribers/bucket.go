// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"sync/atomic"
	"time"
)

const (
	// depth is how far connections may be ahead of their rate together.
	depth = 100 * time.Millisecond
	// least is what is worth a system call, in bytes, at rates that earn it
	// within a second.
	least = 4096
)

// bucket is a rate that all connections of a subscriber share, over several
// event loops and without a lock. It notes until when the bytes so far are paid
// for (GCRA). Bytes are spent once they have moved, so that a flow that is faster
// than it may be runs into debt and waits that long.
type bucket struct {
	rate atomic.Uint64 // bytes per second; 0: no limit
	paid atomic.Int64  // ns
}

// allow returns how many bytes may move at a moment, or 0 and how long to wait.
func (b *bucket) allow(now int64) (bytes int, wait time.Duration) {
	rate := b.rate.Load()
	if rate == 0 {
		return unlimited, 0
	}
	room := max(int64(depth), min(cost(least, rate), int64(time.Second)))
	credit := room - max(b.paid.Load()-now, 0)
	if credit < room/2 {
		return 0, time.Duration(room/2 - credit)
	}
	return int(max(float64(credit)*float64(rate)/float64(time.Second), 1)), 0
}

// unlimited is more than a connection moves in a turn.
const unlimited = 1 << 30

// spend takes note of bytes that have moved.
func (b *bucket) spend(n uint64, now int64) {
	rate := b.rate.Load()
	if rate == 0 {
		return
	}
	price := cost(n, rate)
	for {
		paid := b.paid.Load()
		if b.paid.CompareAndSwap(paid, max(paid, now)+price) {
			return
		}
	}
}

// limit changes the rate. Debt at the one before is forgiven.
func (b *bucket) limit(rate uint64) {
	if b.rate.Swap(rate) != rate {
		b.paid.Store(0)
	}
}

// cost is how long n bytes take at a rate, in ns.
func cost(n, rate uint64) int64 {
	return int64(float64(n) * float64(time.Second) / float64(rate))
}
