// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tandem-gateway/tandem/options"
)

// Errors of Chosen.
var (
	ErrNoConnection = errors.New("there is no such connection")
	ErrNotServed    = errors.New("the connection is not relayed yet, or no longer")
)

// Chosen is what an operator's choice has come to on a connection.
type Chosen struct {
	ID        uint64
	Options   *options.Grants // in force then
	Unchanged bool            // there was nothing to take back
	Err       error           // ErrNoConnection or ErrNotServed
}

// Choose lets the operator choose options of connections that are relayed. Set
// replaces what he chose before, option by option, and clear takes options
// back, so that what listener, subscriber and client have chosen counts again.
// It returns when that is in force on all of them; if ctx ends before, what was
// chosen so far stands. The connections share the walks through the sockets that
// this takes: for thousands of them, one call after the other takes minutes. What
// becomes of a single connection is logged at level info, of each of several at
// level debug. The answers are in no particular order, one for each ID.
func (s *Server) Choose(ctx context.Context, ids []uint64, set options.Set, clear []options.Option) ([]Chosen, error) {
	if err := options.CheckOwn(set); err != nil {
		return nil, err
	}
	workers := uint64(len(s.workers))
	wanted := make([]map[uint64]bool, workers) // numbers, by worker
	for _, id := range ids {
		i := id % workers
		if wanted[i] == nil {
			wanted[i] = make(map[uint64]bool)
		}
		wanted[i][id/workers] = true
	}
	n := 0
	for _, numbers := range wanted {
		n += len(numbers)
	}
	done := make(chan Chosen, n) // so that no loop ever waits
	level := slog.LevelInfo
	if n > 1 {
		level = slog.LevelDebug
	}
	for i, numbers := range wanted {
		if len(numbers) == 0 {
			continue
		}
		for range s.walk(i, func(x *session) {
			number := uint64(x.number)
			if !numbers[number] {
				return
			}
			delete(numbers, number)
			id := s.id(i, x.number)
			x.operatorChooses(level, set, clear, func(c Chosen) {
				c.ID = id
				done <- c
			})
		}) {
			if len(numbers) == 0 || ctx.Err() != nil {
				break
			}
		}
		for number := range numbers {
			done <- Chosen{ID: number*workers + uint64(i), Err: ErrNoConnection}
		}
	}
	all := make([]Chosen, 0, n)
	for range n {
		select {
		case c := <-done:
			all = append(all, c)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, ErrShutdown
		}
	}
	return all, nil
}

// operatorChooses takes an operator's choice, and calls done when it is in force,
// which is logged at a level.
func (s *session) operatorChooses(level slog.Level, set options.Set, clear []options.Option, done func(Chosen)) {
	if s.phase != relaying {
		done(Chosen{Err: ErrNotServed})
		return
	}
	var before options.Set
	if s.choices != nil {
		before = s.choices.layers.Operator
	}
	after := set.Over(before)
	for _, o := range clear {
		after = after.Without(o)
	}
	if set.Empty() && after == before {
		unchanged := Chosen{Unchanged: true}
		if s.choices != nil {
			unchanged.Options = s.choices.grants.Clone()
		}
		done(unchanged)
		return
	}
	_ = s.change(func(l *options.Layers) { l.Operator = after }, func() {
		s.logChoices(level, "operator has changed options of a connection")
		done(Chosen{Options: s.choices.grants.Clone()})
	})
}
