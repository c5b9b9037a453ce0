// SPDX-License-Identifier: Apache-2.0

package options

import (
	"slices"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

// sampleEvery is the distance of samples.
const sampleEvery = 10 * time.Millisecond

// sample is what the client of a download has received until a moment, and what
// the server knows then.
type sample struct {
	at    time.Duration // since the meter was started
	total int64         // bytes that the application has got
	paths [2]uint64     // payload received on the first two subflows
	rtt   [2]time.Duration
}

// meter samples a download.
type meter struct {
	start    time.Time
	d        *download
	quit     chan struct{}
	sampling sync.WaitGroup

	mu      sync.Mutex
	samples []sample
	err     error
}

// watch begins to sample, until stop is called.
func (d *download) watch() *meter {
	m := &meter{start: time.Now(), d: d, quit: make(chan struct{})}
	m.sampling.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		var last sample
		for {
			m.take(&last)
			select {
			case <-tick.C:
			case <-m.quit:
				return
			}
		}
	})
	return m
}

// take takes a sample. A subflow that has ended keeps what it had.
func (m *meter) take(last *sample) {
	next := *last
	at, err := subflows(m.d.client)
	var from []mptcp.Subflow
	if err == nil {
		from, err = subflows(m.d.server)
	}
	next.at, next.total = time.Since(m.start), m.d.received.Load()
	for _, f := range at {
		if i := int(f.ID) - 1; i >= 0 && i < len(next.paths) {
			next.paths[i] = f.TCP.BytesReceived
		}
	}
	for _, f := range from {
		if i := int(f.ID) - 1; i >= 0 && i < len(next.rtt) {
			next.rtt[i] = f.TCP.RTT
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.err = err
		return
	}
	m.samples = append(m.samples, next)
	*last = next
}

// stop returns all samples.
func (m *meter) stop() (trace, error) {
	close(m.quit)
	m.sampling.Wait()
	return m.samples, m.err
}

// now is the time of samples taken now.
func (m *meter) now() time.Duration { return time.Since(m.start) }

// last is the latest sample.
func (m *meter) last() (sample, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples) == 0 {
		return sample{}, m.err
	}
	return m.samples[len(m.samples)-1], m.err
}

// trace is samples in the order of time.
type trace []sample

// index of the first sample at or after a moment.
func (t trace) index(at time.Duration) int {
	i, _ := slices.BinarySearchFunc(t, at, func(s sample, at time.Duration) int { return int(s.at - at) })
	return min(i, len(t)-1)
}

// count is what a rate is taken of.
type count func(sample) float64

func total(s sample) float64 { return float64(s.total) }

// onPath counts the payload on a path, from 0.
func onPath(i int) count { return func(s sample) float64 { return float64(s.paths[i]) } }

// rate in Mbit/s between two moments.
func (t trace) rate(of count, from, to time.Duration) float64 {
	a, b := t[t.index(from)], t[t.index(to)]
	if b.at <= a.at {
		return 0
	}
	return (of(b) - of(a)) * 8 / 1e6 / (b.at - a.at).Seconds()
}

// windows are the rates in Mbit/s over windows of one width, by the middle of
// each in seconds.
func (t trace) windows(of count, width time.Duration) (at, rates []float64) {
	step := max(width/4, sampleEvery)
	for from := t[0].at; from+width <= t[len(t)-1].at; from += step {
		at = append(at, (from + width/2).Seconds())
		rates = append(rates, t.rate(of, from, from+width))
	}
	return at, rates
}
