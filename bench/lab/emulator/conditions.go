// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"errors"
	"fmt"
	"time"
)

// ErrConditions reports conditions that no line can have.
var ErrConditions = errors.New("impossible conditions of a link")

const (
	minRate  = 12_000          // a full frame takes a second
	maxRate  = 100_000_000_000 // far above what can be carried
	maxDelay = 10 * time.Second
)

// Conditions are how one direction of a link treats packets. The zero value is
// a perfect wire. They may be changed while traffic runs.
type Conditions struct {
	// Rate is the capacity in bit/s, counted over whole Ethernet frames;
	// 0 is unlimited, otherwise 12 kbit/s to 100 Gbit/s.
	Rate uint64
	// Queue limits what waits in front of the rate; packets beyond are dropped
	// at the tail. An unlimited link has no queue.
	Queue Queue
	// Delay is the one-way propagation delay, up to 10 s.
	Delay time.Duration
	// Jitter varies the delay uniformly within Delay ± Jitter, so it is at most
	// Delay. Packets keep their order: one with a short delay waits for the
	// one before it.
	Jitter time.Duration
	// Loss says which packets are lost behind the queue.
	Loss Loss
	// Reorder is the probability that a packet is delivered without the delay,
	// ahead of those before it, as netem does. It needs a Delay.
	Reorder float64
}

// Queue is the limit of a queue. With both limits 0 it is 60 ms at the rate of
// the link, but at least 30 kB.
type Queue struct {
	// Bytes of whole Ethernet frames; 0 is no limit in bytes.
	Bytes uint32
	// Packets; 0 is no limit in packets.
	Packets uint32
}

const (
	minQueue      = 30_000
	queueDuration = 60 * time.Millisecond
)

// limits are the limits with the default filled in.
func (c Conditions) limits() Queue {
	if c.Queue == (Queue{}) && c.Rate != 0 {
		return Queue{Bytes: uint32(max(minQueue, c.Rate/8*uint64(queueDuration/time.Millisecond)/1000))}
	}
	return c.Queue
}

// Loss is the model of Gilbert and Elliott: the line is in a good or a bad
// state, loses packets with the probability that belongs to it, and may change
// its state with each packet. The zero value loses nothing.
type Loss struct {
	// InGood and InBad are the probabilities of losing a packet.
	InGood, InBad float64
	// ToBad and ToGood are the probabilities of leaving the good and the bad
	// state with a packet.
	ToBad, ToGood float64
}

// RandomLoss loses each packet with probability p, independently of others.
func RandomLoss(p float64) Loss { return Loss{InGood: p} }

// BurstLoss loses a share of p of the packets in bursts of a mean length in
// packets (the simple Gilbert model). A p of 1 and a length of at most 1 are
// taken as random loss.
func BurstLoss(p, length float64) Loss {
	if p >= 1 || length <= 1 {
		return RandomLoss(p)
	}
	return Loss{InBad: 1, ToBad: p / (length * (1 - p)), ToGood: 1 / length}
}

// Mean is the share of packets that is lost in the long run.
func (l Loss) Mean() float64 {
	if l.ToBad == 0 {
		return l.InGood
	}
	bad := l.ToBad / (l.ToBad + l.ToGood)
	return (1-bad)*l.InGood + bad*l.InBad
}

// Check reports what is wrong with the conditions, wrapping [ErrConditions].
func (c Conditions) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrConditions, fmt.Sprintf(format, args...))
	}
	if c.Rate != 0 && (c.Rate < minRate || c.Rate > maxRate) {
		return bad("rate %d bit/s is not within %d and %d", c.Rate, uint64(minRate), uint64(maxRate))
	}
	if c.Delay < 0 || c.Delay > maxDelay {
		return bad("delay %v is not within 0 and %v", c.Delay, maxDelay)
	}
	if c.Jitter < 0 || c.Jitter > c.Delay {
		return bad("jitter %v is not within 0 and the delay of %v", c.Jitter, c.Delay)
	}
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"loss", c.Loss.InGood}, {"loss in bursts", c.Loss.InBad},
		{"begin of bursts", c.Loss.ToBad}, {"end of bursts", c.Loss.ToGood}, {"reordering", c.Reorder},
	} {
		if !(p.value >= 0 && p.value <= 1) {
			return bad("probability of %s %g is not within 0 and 1", p.name, p.value)
		}
	}
	if c.Reorder > 0 && c.Delay == 0 {
		return bad("reordering needs a delay that a packet can skip")
	}
	return nil
}
