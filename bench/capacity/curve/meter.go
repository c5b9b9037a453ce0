// SPDX-License-Identifier: Apache-2.0

package curve

import (
	"errors"
	"time"
)

// meter is the CPU time of a relay over time.
type meter struct {
	open    time.Time // when all connections were; zero before
	samples []sample
}

type sample struct {
	at  time.Time
	cpu time.Duration
}

func (m *meter) add(cpu time.Duration) { m.samples = append(m.samples, sample{time.Now(), cpu}) }

var errTooShort = errors.New("too short to tell the CPU time")

// cores is the CPU time per time over a duration, which begins so long after
// all connections were open: neither their opening nor their end counts. If
// nobody has seen them open, as on a machine that is very busy, all time counts.
func (m *meter) cores(after, duration time.Duration) (float64, error) {
	from := m.open.Add(after)
	to := from.Add(duration)
	first, last := 0, len(m.samples)-1
	for first < last && m.samples[first].at.Before(from) {
		first++
	}
	for last > first+1 && m.samples[last].at.After(to) {
		last--
	}
	if first == last && first > 0 {
		first-- // on a busy machine there may be few
	}
	if m.open.IsZero() {
		first, last = 0, len(m.samples)-1
	}
	if first >= last {
		return 0, errTooShort
	}
	a, b := m.samples[first], m.samples[last]
	return (b.cpu - a.cpu).Seconds() / b.at.Sub(a.at).Seconds(), nil
}
