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

// schedule is an open loop: actions in the order of their times, which the
// answers do not change.
type schedule struct {
	actions  []action
	sessions int // connections that are made before the beginning
	// patience with each answer; 0 is Patience.
	patience time.Duration
	began    func(time.Time) // if there is one, called at the beginning
	// warm has an exchange on each connection before the beginning, so that the
	// whole way is there: a proxy takes connections before it has made its own.
	warm bool
}

// run runs all actions. late is the most that the generator was behind. The
// error is that of ctx; what fails on the way is in the actions.
func (s *schedule) run(ctx context.Context, dial Dialer) (late time.Duration, err error) {
	if s.patience == 0 {
		s.patience = Patience
	}
	sessions := make([]*session, s.sessions)
	refused := s.connect(ctx, dial, sessions)
	start := time.Now()
	if s.began != nil {
		s.began(start)
	}
	var working sync.WaitGroup
	defer working.Wait()
	for _, c := range sessions {
		if c == nil {
			continue
		}
		c.begin(start)
		working.Go(func() {
			defer context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })()
			c.wait()
		})
		defer c.end()
	}
	for i := range s.actions {
		a := &s.actions[i]
		if err := await.Pause(ctx, a.at-time.Since(start)); err != nil {
			return late, err
		}
		late = max(late, time.Since(start)-a.at)
		switch {
		case a.session < 0:
			working.Go(func() { a.alone(ctx, dial, start, s.patience) })
		case sessions[a.session] == nil:
			a.err = refused
		default:
			sessions[a.session].do(a)
		}
	}
	return late, nil
}

// connect makes the connections that there are from the beginning, and returns
// why one of them cannot be made, if so.
func (s *schedule) connect(ctx context.Context, dial Dialer, sessions []*session) (refused error) {
	perSession := make([]int, s.sessions)
	for i := range s.actions {
		if k := s.actions[i].session; k >= 0 {
			perSession[k]++
		}
	}
	for k := range sessions {
		c, err := dialWithin(ctx, dial, s.patience)
		if err != nil {
			refused = fmt.Errorf("connection %d of %d: %w", k+1, s.sessions, err)
			continue
		}
		sessions[k] = newSession(c, s.patience, perSession[k])
		if s.warm {
			if err := sessions[k].warmUp(ctx); err != nil {
				refused = fmt.Errorf("connection %d of %d: %w", k+1, s.sessions, err)
				abort(c)
				sessions[k] = nil
			}
		}
	}
	return refused
}

// alone does an action on a connection of its own.
func (a *action) alone(ctx context.Context, dial Dialer, start time.Time, patience time.Duration) {
	c, err := dialWithin(ctx, dial, patience)
	if err != nil {
		a.err = err
		return
	}
	s := newSession(c, patience, 1)
	defer context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })()
	s.begin(start)
	s.do(a)
	s.end()
	s.wait()
}

// dialWithin dials with an end to its patience.
func dialWithin(ctx context.Context, dial Dialer, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return dial(ctx)
}
