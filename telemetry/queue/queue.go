// SPDX-License-Identifier: Apache-2.0

// Package queue hands what event loops produce to a goroutine that may be slow,
// without ever making them wait.
package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Queue is a bounded queue of values that are taken many at a time. The reader
// is not woken for each of them, which would cost more than all the rest.
type Queue[T any] struct {
	limit   int
	batch   int // how many are worth waking the reader
	dropped atomic.Uint64
	ready   chan struct{} // that many wait

	mu      sync.Mutex
	waiting []T
	spare   []T
}

// New returns a queue with room for up to limit values, whose reader is woken for
// a batch of them. A batch ought to fit a cache: what waits for longer is written to
// memory and read from it again.
func New[T any](limit, batch int) *Queue[T] {
	return &Queue[T]{limit: limit, batch: min(batch, limit), ready: make(chan struct{}, 1)}
}

// Put adds a value, or drops and counts it where there is no room. It reports
// whether it was added, and never blocks for long.
func (q *Queue[T]) Put(v *T) bool {
	q.mu.Lock()
	added := len(q.waiting) < q.limit
	if added {
		q.waiting = append(q.waiting, *v)
	}
	n := len(q.waiting)
	q.mu.Unlock()
	if !added {
		q.dropped.Add(1)
		return false
	}
	if n == q.batch {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return true
}

// Dropped is how many values there was no room for.
func (q *Queue[T]) Dropped() uint64 { return q.dropped.Load() }

// Run calls take with what has come, every so often or when a batch has, until ctx
// ends, and then once more. What take gets is valid until it returns.
func (q *Queue[T]) Run(ctx context.Context, every time.Duration, take func([]T)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-q.ready:
		case <-ctx.Done():
		}
		q.empty(take)
	}
	q.empty(take) // what came while the last ones were taken
}

func (q *Queue[T]) empty(take func([]T)) {
	q.mu.Lock()
	batch := q.waiting
	q.waiting = q.spare[:0]
	q.mu.Unlock()
	if len(batch) > 0 {
		take(batch)
	}
	clear(batch) // frees what the values refer to
	q.mu.Lock()
	q.spare = batch
	q.mu.Unlock()
}
