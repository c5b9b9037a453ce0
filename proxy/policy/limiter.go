// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// shards is how many locks share the source prefixes. A few dozen keep a few
// event loops out of each other's way.
const shards = 32

// Limiter counts connections and refuses those beyond its limits. It may be
// used from any goroutine.
//
// A source prefix is forgotten once it has no connections and has had time to
// earn its whole burst again; this happens in passing as others come. When the
// table is full, prefixes without connections are forgotten early, those that
// went away first.
type Limiter struct {
	limits atomic.Pointer[limits]
	total  atomic.Int64
	epoch  time.Time
	seed   maphash.Seed
	shards [shards]shard
}

// NewLimiter returns a Limiter with no connections.
func NewLimiter(c LimitsConfig) (*Limiter, error) {
	l := &Limiter{epoch: time.Now(), seed: maphash.MakeSeed()}
	if err := l.Update(c); err != nil {
		return nil, err
	}
	for i := range l.shards {
		l.shards[i].init()
	}
	return l, nil
}

// Update changes the limits. Connections that exceed the new ones live on and
// still count, with two exceptions: if the length of prefixes changes, or if
// there was no limit per prefix before, older connections count only towards
// the total.
func (l *Limiter) Update(c LimitsConfig) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	l.limits.Store(c.withDefaults())
	return nil
}

// Admit counts a new connection from addr, or returns a *Refused. The
// connection is pending until its ticket is Established and counts until it is
// Released. A refused connection takes nothing from the rate of its prefix.
//
// The clock may differ a little between callers, as it does between event loops
// that each read it once per turn: time does not go back for a prefix.
func (l *Limiter) Admit(addr netip.Addr, now time.Time) (Ticket, error) {
	lim := l.limits.Load()
	for {
		n := l.total.Load()
		if lim.Total > 0 && n >= int64(lim.Total) {
			return Ticket{}, refusals[Total]
		}
		if l.total.CompareAndSwap(n, n+1) {
			break
		}
	}
	t := Ticket{limiter: l, index: none}
	if !lim.perPrefix() {
		return t, nil
	}
	key := keyOf(addr, lim)
	t.shard = uint16(maphash.Comparable(l.seed, key) % shards)
	// A duration since the epoch is taken from the monotonic clock, so that
	// setting the machine's clock neither blocks nor opens anything.
	index, reason, ok := l.shards[t.shard].admit(key, int64(now.Sub(l.epoch)), lim)
	if !ok {
		l.total.Add(-1)
		return Ticket{}, refusals[reason]
	}
	t.index = index
	return t, nil
}

// Use is how much of its limits a source prefix has taken. A limit of 0 is none.
type Use struct {
	Connections, Total int // in all, and their limit
	// Prefix is what counts as one source, FromPrefix its connections and
	// Pending those of them whose handshake is not done. They are not counted
	// where no limit needs it.
	Prefix                netip.Prefix
	FromPrefix, PerSource int
	Pending, PendingLimit int
	NewPerSecond          float64
}

// Would returns what Admit would, and how much of the limits is in use. It
// counts nothing.
func (l *Limiter) Would(addr netip.Addr, now time.Time) (Use, error) {
	lim := l.limits.Load()
	u := Use{
		Connections: int(l.total.Load()), Total: lim.Total,
		PerSource: lim.PerSource, PendingLimit: lim.Pending, NewPerSecond: lim.Rate,
	}
	if lim.Total > 0 && u.Connections >= lim.Total {
		return u, refusals[Total]
	}
	if !lim.perPrefix() {
		return u, nil
	}
	bits := lim.IPv6Bits
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = lim.IPv4Bits
	}
	u.Prefix, _ = addr.Prefix(bits)
	key := keyOf(addr, lim)
	s := &l.shards[maphash.Comparable(l.seed, key)%shards]
	conns, pending, reason, ok := s.would(key, int64(now.Sub(l.epoch)), lim)
	u.FromPrefix, u.Pending = conns, pending
	if !ok {
		return u, refusals[reason]
	}
	return u, nil
}

// Stats is how full a Limiter is.
type Stats struct {
	Connections int // admitted and not released
	Prefixes    int // in memory, some without connections
}

// Stats looks at each part in turn: the numbers are of about the same time.
func (l *Limiter) Stats() Stats {
	s := Stats{Connections: int(l.total.Load())}
	for i := range l.shards {
		s.Prefixes += l.shards[i].size()
	}
	return s
}

// A Ticket is the place of one connection in a Limiter. It belongs to one
// owner and must not be copied while in use; the zero Ticket has no place.
type Ticket struct {
	limiter *Limiter
	index   int32  // in a shard, or none
	shard   uint16 // which one
	settled bool
}

// Established says that the handshake of the connection is done: it is no
// longer pending. Calling it again has no effect.
func (t *Ticket) Established() {
	if t.limiter == nil || t.index == none || t.settled {
		return
	}
	t.settled = true
	t.limiter.shards[t.shard].establish(t.index)
}

// Release gives the place back. Calling it again has no effect.
func (t *Ticket) Release() {
	if t.limiter == nil {
		return
	}
	if t.index != none {
		t.limiter.shards[t.shard].release(t.index, !t.settled)
	}
	t.limiter.total.Add(-1)
	*t = Ticket{}
}

// A key is a source prefix: its address, masked, in the form of RFC 4291
// section 2.5.5.2 for IPv4. The two families cannot meet, because IPv6
// addresses of that form are IPv4 to us before they are masked.
type key [16]byte

func keyOf(addr netip.Addr, lim *limits) key {
	addr = addr.Unmap()
	b := addr.As16()
	bits := lim.IPv6Bits
	if addr.Is4() {
		bits = 96 + lim.IPv4Bits
	}
	for i := range b {
		if rest := bits - 8*i; rest <= 0 {
			b[i] = 0
		} else if rest < 8 {
			b[i] &= 0xff << (8 - rest)
		}
	}
	return b
}
