// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Exchanges are requests and responses in an open loop: they begin at times of
// a Poisson process, whether or not earlier ones have been answered. Latency is
// from when one was due to the last byte of the answer; for one on a connection
// of its own, that includes the handshakes.
type Exchanges struct {
	Seed uint64
	// PerSecond is the mean rate of arrivals.
	PerSecond float64
	// Count is how many exchanges there are.
	Count int
	// Connections that share the exchanges in turn; 0: each has a new one.
	Connections int
	// Request is at least 24 bytes.
	Request, Answer Range
	// Serve is what the server takes for an answer.
	Serve time.Duration
	// Patience with each answer; 0 is [Patience].
	Patience time.Duration
}

// String says what the load is.
func (w Exchanges) String() string {
	how := "a new connection each"
	if w.Connections > 0 {
		how = fmt.Sprintf("%d connections", w.Connections)
	}
	return fmt.Sprintf("%d exchanges of %v for %v, open loop, %.3g per second, %s", w.Count, w.Request, w.Answer, w.PerSecond, how)
}

// plan draws the exchanges.
func (w Exchanges) plan() (schedule, error) {
	s := schedule{actions: make([]action, w.Count), sessions: w.Connections, patience: w.Patience, warm: true}
	if w.PerSecond <= 0 {
		return s, errors.New("exchanges without a rate")
	}
	if err := errors.Join(w.Request.check("request", askSize), w.Answer.check("answer", 1)); err != nil {
		return s, err
	}
	random := rand.New(rand.NewPCG(w.Seed, 'e'))
	at := time.Duration(0)
	for i := range s.actions {
		at += time.Duration(random.ExpFloat64() / w.PerSecond * float64(time.Second))
		session := -1
		if w.Connections > 0 {
			session = i % w.Connections
		}
		s.actions[i] = action{at: at, session: session, ask: w.draw(random)}
	}
	return s, nil
}

func (w Exchanges) draw(random *rand.Rand) ask {
	return ask{kind: exchange, request: w.Request.draw(random), answer: w.Answer.draw(random), pause: w.Serve}
}

func (g Range) draw(random *rand.Rand) uint64 {
	return uint64(g.Min + random.Int64N(g.Max-g.Min+1))
}

// Run runs the workload.
func (w Exchanges) Run(ctx context.Context, dial Dialer) (*Result, error) {
	s, err := w.plan()
	if err != nil {
		return nil, err
	}
	return s.result(ctx, dial, func(a *action) (at, took time.Duration) { return a.at, a.last - a.at })
}

// result runs the schedule and counts what each action took, as measure says.
// Actions without an answer have no latency.
func (s *schedule) result(ctx context.Context, dial Dialer, measure func(*action) (at, took time.Duration)) (*Result, error) {
	late, err := s.run(ctx, dial)
	if err != nil {
		return nil, err
	}
	r := NewResult()
	r.Late = late
	for i := range s.actions {
		a := &s.actions[i]
		switch {
		case a.err != nil:
			r.fail(a.err)
		case a.ask.answer == 0 && a.ask.kind == exchange:
			r.Sent += int64(a.ask.request)
		default:
			at, took := measure(a)
			r.add(at, took, int64(a.ask.request), int64(a.ask.answer))
		}
	}
	return r, nil
}
