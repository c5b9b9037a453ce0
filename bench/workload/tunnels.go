// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
)

// Tunnels are connections that do nothing: each has one exchange of 1 kB, is
// idle, and has another one. Latency is that of the second exchange.
type Tunnels struct {
	Count int
	// Opening is how many are opened at a time; 0 is 64.
	Opening int
	Idle    time.Duration
	// Held, if it is there, is called when all are open and again when they have
	// been idle, with how many there are.
	Held func(ctx context.Context, count int) error
	// Patience with each answer; 0 is [Patience].
	Patience time.Duration
}

// tunnelExchange is the size of a request and of its answer.
const tunnelExchange = 1 << 10

// String says what the load is.
func (w Tunnels) String() string {
	return fmt.Sprintf("%d tunnels, idle for %v", w.Count, w.Idle)
}

// tunnel is one of them, between exchanges without a buffer or a goroutine of
// its own.
type tunnel struct {
	conn     net.Conn
	up, down flow
}

// Run runs the workload.
func (w Tunnels) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if w.Patience == 0 {
		w.Patience = Patience
	}
	if w.Opening == 0 {
		w.Opening = 64
	}
	r := NewResult()
	start := time.Now()
	tunnels := make([]*tunnel, w.Count)
	defer func() {
		for _, t := range tunnels {
			if t != nil {
				t.conn.Close()
			}
		}
	}()
	var mu sync.Mutex
	w.each(func(i int) {
		t, err := w.open(ctx, dial)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			r.fail(err)
			return
		}
		tunnels[i] = t
	})
	open := w.Count - r.Failed
	if err := w.held(ctx, open); err != nil {
		return nil, err
	}
	if err := await.Pause(ctx, w.Idle); err != nil {
		return nil, err
	}
	if err := w.held(ctx, open); err != nil {
		return nil, err
	}
	w.each(func(i int) {
		t := tunnels[i]
		if t == nil {
			return
		}
		began := time.Since(start)
		err := t.exchange(ctx, w.Patience)
		took := time.Since(start) - began
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			r.fail(err)
			return
		}
		r.add(began, took, tunnelExchange, tunnelExchange)
	})
	return r, ctx.Err()
}

func (w Tunnels) held(ctx context.Context, open int) error {
	if w.Held == nil {
		return ctx.Err()
	}
	return w.Held(ctx, open)
}

// each calls f for each tunnel, for some of them at a time.
func (w Tunnels) each(f func(i int)) {
	var working sync.WaitGroup
	for k := range w.Opening {
		working.Go(func() {
			for i := k; i < w.Count; i += w.Opening {
				f(i)
			}
		})
	}
	working.Wait()
}

func (w Tunnels) open(ctx context.Context, dial Dialer) (*tunnel, error) {
	c, err := dialWithin(ctx, dial, w.Patience)
	if err != nil {
		return nil, err
	}
	t := &tunnel{conn: c}
	if err := t.exchange(ctx, w.Patience); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// exchange has one exchange.
func (t *tunnel) exchange(ctx context.Context, patience time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := newSession(t.conn, patience, 1)
	s.up, s.down = t.up, t.down
	defer context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })()
	s.begin(time.Now())
	a := action{ask: ask{kind: exchange, request: tunnelExchange, answer: tunnelExchange}}
	s.do(&a)
	s.end()
	s.working.Wait()
	s.broken(nil)
	t.up, t.down = s.up, s.down
	return a.err
}
