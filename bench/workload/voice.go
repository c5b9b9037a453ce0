// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Voice is what a voice assistant does: while the user speaks, bursts of small
// segments go to the server; once the last one is there, the server answers.
// There may be intermediate answers, as of a recognition under way. Latency is
// from when the last burst was sent to the first byte of the answer; that of the
// connection is not in it.
type Voice struct {
	Seed uint64
	// Requests are made one after the other, each on a new connection.
	Requests int
	// Bursts of a request, and segments of a burst, each written by itself.
	Bursts, Segments int
	// Segment is the size of a segment in bytes, at least 24.
	Segment Range
	// Interval is the time from one burst to the next.
	Interval time.Duration
	// Intermediate is the size of the answer to all bursts but the last; 0 is
	// none.
	Intermediate int64
	// Answer is the size of the answer to the last burst.
	Answer int64
	// Patience with each answer; 0 is [Patience].
	Patience time.Duration
}

// NewVoice is the usual voice workload: 9 bursts of 10 segments of 50 to 500
// bytes, one every 300 ms, and an answer of 750 bytes; with intermediate
// answers, of 100 bytes each, or without.
func NewVoice(seed uint64, requests int, intermediate bool) Voice {
	w := Voice{
		Seed: seed, Requests: requests, Bursts: 9, Segments: 10, Segment: Range{50, 500},
		Interval: 300 * time.Millisecond, Answer: 750,
	}
	if intermediate {
		w.Intermediate = 100
	}
	return w
}

// String says what the load is.
func (w Voice) String() string {
	answers := "no intermediate answers"
	if w.Intermediate > 0 {
		answers = fmt.Sprintf("intermediate answers of %d B", w.Intermediate)
	}
	return fmt.Sprintf("%d voice requests of %d bursts of %d segments of %v, one every %v, %s, answer of %d B",
		w.Requests, w.Bursts, w.Segments, w.Segment, w.Interval, answers, w.Answer)
}

// Duration is how long one request takes, the latency of its answer aside.
func (w Voice) Duration() time.Duration { return time.Duration(w.Bursts-1) * w.Interval }

// request draws a request.
func (w Voice) request(random *rand.Rand) schedule {
	s := schedule{actions: make([]action, w.Bursts), sessions: 1, patience: w.Patience}
	for i := range s.actions {
		a := action{at: time.Duration(i) * w.Interval, ask: ask{kind: exchange, answer: uint64(w.Intermediate)}}
		for range w.Segments {
			n := w.Segment.draw(random)
			a.pieces = append(a.pieces, int(n))
			a.ask.request += n
		}
		s.actions[i] = a
	}
	s.actions[w.Bursts-1].ask.answer = uint64(w.Answer)
	return s
}

// Run runs the workload.
func (w Voice) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if err := w.Segment.check("segment", askSize); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(w.Seed, 'v'))
	start := time.Now()
	all := NewResult()
	for range w.Requests {
		s := w.request(random)
		began := time.Since(start)
		late, err := s.run(ctx, dial)
		if err != nil {
			return nil, err
		}
		all.Late = max(all.Late, late)
		var failure error
		sent, received := int64(0), int64(0)
		for i := range s.actions {
			a := &s.actions[i]
			if failure == nil {
				failure = a.err
			}
			sent += int64(a.ask.request)
			received += int64(a.ask.answer)
		}
		if failure != nil {
			all.fail(failure)
			continue
		}
		last := &s.actions[w.Bursts-1]
		all.add(began+last.sent, last.first-last.sent, sent, received)
	}
	return all, nil
}
