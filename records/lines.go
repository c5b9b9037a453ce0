// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lineBatch bytes of lines wake the writer.
const lineBatch = maxWrite

// lines are records that wait to be written to a file, as it will have them: whoever
// has a record at hand makes a line of it sooner than somebody else on another CPU,
// to whom it is three times as far away.
type lines struct {
	room    int // lines that may wait
	dropped atomic.Uint64
	ready   chan struct{} // a batch waits

	mu      sync.Mutex
	encoder lineEncoder
	waiting []byte
	count   int // lines in it
	spare   []byte
}

func newLines(room int) *lines { return &lines{room: room, ready: make(chan struct{}, 1)} }

// put adds a line, or drops and counts it where there is no room.
func (l *lines) put(e *entry) {
	l.mu.Lock()
	before := len(l.waiting)
	added := l.count < l.room
	if added {
		l.waiting = l.encoder.append(l.waiting, e)
		l.count++
	}
	now := len(l.waiting)
	l.mu.Unlock()
	if !added {
		l.dropped.Add(1)
	}
	if before < lineBatch && now >= lineBatch {
		select {
		case l.ready <- struct{}{}:
		default:
		}
	}
}

// run calls take with the lines that have come, every so often or when a batch has,
// until ctx ends, and then once more. What take gets is valid until it returns.
func (l *lines) run(ctx context.Context, every time.Duration, take func([]byte)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-l.ready:
		case <-ctx.Done():
		}
		l.empty(take)
	}
	l.empty(take) // what came while the last ones were taken
}

func (l *lines) empty(take func([]byte)) {
	l.mu.Lock()
	batch := l.waiting
	l.waiting, l.count = l.spare[:0], 0
	l.mu.Unlock()
	if len(batch) > 0 {
		take(batch)
	}
	if cap(batch) > 4*lineBatch { // of a time when the file was slow
		batch = nil
	}
	l.mu.Lock()
	l.spare = batch
	l.mu.Unlock()
}

// countLines tells how many lines end in b.
func countLines(b []byte) int { return bytes.Count(b, []byte{'\n'}) }
