// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"math/rand/v2"
	"slices"
	"time"
)

// maxSamples are kept of the round-trip times of a stream: enough for a median.
const maxSamples = 64

// samples are round-trip times: the shortest, and a random choice of all
// (reservoir sampling, algorithm R).
type samples struct {
	n    uint64
	min  time.Duration
	kept []time.Duration
}

func (s *samples) add(d time.Duration, random *rand.Rand) {
	if s.n == 0 || d < s.min {
		s.min = d
	}
	s.n++
	if len(s.kept) < maxSamples {
		s.kept = append(s.kept, d)
	} else if i := random.Uint64N(s.n); i < maxSamples {
		s.kept[i] = d
	}
}

// rtt is what is told of them.
func (s *samples) rtt() RTT {
	if s.n == 0 {
		return RTT{}
	}
	slices.Sort(s.kept)
	return RTT{Samples: s.n, Min: Millis(s.min), Median: Millis(s.kept[len(s.kept)/2])}
}

// probe measures one round trip after the other: from a byte that is sent for
// the first time to what acknowledges it. Whatever is sent again ends the
// measurement, since the acknowledgment may wait for that (P. Karn, C. Partridge,
// 1987).
type probe struct {
	end     uint64 // place behind the last byte that is waited for
	sent    instant
	pending bool
	samples
}

func (p *probe) send(end uint64, now instant) {
	if !p.pending {
		p.end, p.sent, p.pending = end, now, true
	}
}

func (p *probe) again() { p.pending = false }

func (p *probe) acknowledge(end uint64, now instant, random *rand.Rand) {
	if p.pending && end >= p.end {
		p.pending = false
		if d := now.since(p.sent); d >= 0 {
			p.add(d, random)
		}
	}
}
