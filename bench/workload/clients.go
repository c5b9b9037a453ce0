// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
)

// Clients are requests and responses in a closed loop: each client has one
// exchange at a time, thinks, and has the next. Latency is from the beginning
// of an exchange to the last byte of its answer. It says nothing of requests
// that were never made because a client waited: see [Exchanges].
type Clients struct {
	Seed    uint64
	Clients int
	// Each is how many exchanges a client has.
	Each int
	// Think is the mean of an exponential distribution; 0 is none.
	Think time.Duration
	// Fresh makes a new connection for each exchange.
	Fresh bool
	// Request is at least 24 bytes.
	Request, Answer Range
	// Serve is what the server takes for an answer.
	Serve time.Duration
	// Patience with each answer; 0 is [Patience].
	Patience time.Duration
}

// String says what the load is.
func (w Clients) String() string {
	how := "a connection each"
	if w.Fresh {
		how = "a new connection for each exchange"
	}
	return fmt.Sprintf("%d clients with %d exchanges of %v for %v, closed loop, %v to think, %s", w.Clients, w.Each, w.Request, w.Answer, w.Think, how)
}

// Run runs the workload.
func (w Clients) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if err := errors.Join(w.Request.check("request", askSize), w.Answer.check("answer", 1)); err != nil {
		return nil, err
	}
	if w.Patience == 0 {
		w.Patience = Patience
	}
	start := time.Now()
	results := make([]*Result, w.Clients)
	var working sync.WaitGroup
	for k := range results {
		results[k] = NewResult()
		working.Go(func() { w.client(ctx, dial, uint64(k), start, results[k]) })
	}
	working.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	all := NewResult()
	elapsed := time.Duration(0)
	for _, r := range results {
		elapsed = max(elapsed, r.Elapsed)
		all.Merge(r)
	}
	all.Elapsed = elapsed // they ran beside each other
	return all, nil
}

// client is one client.
func (w Clients) client(ctx context.Context, dial Dialer, k uint64, start time.Time, r *Result) {
	random := rand.New(rand.NewPCG(w.Seed, 'c'+k<<8))
	var s *session
	var stop func() bool
	hangUp := func() {
		if s != nil {
			s.end()
			s.wait()
			stop()
			s = nil
		}
	}
	defer hangUp()
	for i := range w.Each {
		think := time.Duration(random.ExpFloat64() * float64(w.Think))
		a := Exchanges{Request: w.Request, Answer: w.Answer, Serve: w.Serve}.draw(random)
		if await.Pause(ctx, think) != nil {
			return
		}
		began := time.Since(start)
		if s == nil {
			c, err := dialWithin(ctx, dial, w.Patience)
			if err != nil {
				r.fail(err)
				continue
			}
			s = newSession(c, w.Patience, w.Each-i)
			s.begin(start)
			stop = context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })
		}
		act := action{at: began, ask: a, done: make(chan struct{})}
		s.do(&act)
		<-act.done
		if act.err != nil {
			r.fail(act.err)
		} else {
			r.add(began, act.last-began, int64(a.request), int64(a.answer))
		}
		if w.Fresh || act.err != nil {
			hangUp()
		}
	}
}
