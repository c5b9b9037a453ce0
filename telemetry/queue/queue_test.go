// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachValueIsTakenOnceOrCounted(t *testing.T) {
	const producers, each = 4, 5000
	q := New[int](1000, 100)
	ctx, cancel := context.WithCancel(context.Background())
	seen := map[int]int{}
	var running, producing sync.WaitGroup
	running.Go(func() {
		q.Run(ctx, time.Millisecond, func(batch []int) {
			for _, v := range batch {
				seen[v]++
			}
		})
	})
	var mu sync.Mutex
	added := map[int]bool{}
	for p := range producers {
		producing.Go(func() {
			for i := range each {
				v := p*each + i
				if q.Put(&v) {
					mu.Lock()
					added[v] = true
					mu.Unlock()
				}
			}
		})
	}
	producing.Wait()
	cancel()
	running.Wait()
	if len(added)+int(q.Dropped()) != producers*each || len(seen) != len(added) {
		t.Errorf("%d added, %d dropped, %d taken of %d", len(added), q.Dropped(), len(seen), producers*each)
	}
	for v, n := range seen {
		if n != 1 || !added[v] {
			t.Fatalf("%d was taken %d times, added %v", v, n, added[v])
		}
	}
}

func TestAFullQueueDrops(t *testing.T) {
	q := New[int](3, 2)
	for i := range 5 {
		if added := q.Put(&i); added != (i < 3) {
			t.Errorf("value %d added: %v", i, added)
		}
	}
	if q.Dropped() != 2 {
		t.Errorf("%d dropped, want 2", q.Dropped())
	}
}

// TestABatchWakesTheReader waits for none of the time after which the reader looks
// by itself.
func TestABatchWakesTheReader(t *testing.T) {
	const batch = 8
	q := New[int](1000, batch)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	taken := make(chan int, batch)
	running.Go(func() {
		q.Run(ctx, time.Hour, func(values []int) { taken <- len(values) })
	})
	for range 3 { // also with the room that the reader has given back
		for i := range batch {
			q.Put(&i)
		}
		for n := 0; n < batch; n += <-taken {
		}
	}
}
