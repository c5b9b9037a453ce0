// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestLinesThatHaveNoRoomAreCounted(t *testing.T) {
	l := newLines(3)
	for range 2 { // the second time with the room that was given back
		for _, e := range named("a", "b", "c", "d", "e") {
			l.put(&e)
		}
		taken := 0
		l.empty(func(b []byte) { taken += countLines(b) })
		if taken != 3 {
			t.Errorf("%d lines taken, want 3", taken)
		}
	}
	if n := l.dropped.Load(); n != 4 {
		t.Errorf("%d dropped, want 4", n)
	}
}

// TestABatchOfLinesWakesTheWriter has event loops put lines, and waits for none of
// the time after which the writer looks by itself.
func TestABatchOfLinesWakesTheWriter(t *testing.T) {
	const loops = 3
	l := newLines(1 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	var writing, putting sync.WaitGroup
	taken := make(chan int, 1000)
	var all []byte
	writing.Go(func() {
		l.run(ctx, time.Hour, func(b []byte) {
			all = append(all, b...)
			taken <- len(b)
		})
	})
	put := make([]int, loops)
	for i := range put {
		putting.Go(func() {
			for bytes := 0; bytes < 2*lineBatch; put[i]++ {
				e := named(fmt.Sprint(i))[0]
				l.put(&e)
				bytes += len(linesOf([]entry{e}))
			}
		})
	}
	putting.Wait()
	if n := <-taken; n < lineBatch {
		t.Errorf("woken for %d bytes, want %d", n, lineBatch)
	}
	cancel()
	writing.Wait()
	want := 0
	for _, n := range put {
		want += n
	}
	if got := countLines(all); got != want {
		t.Errorf("%d lines written, want %d", got, want)
	}
}
