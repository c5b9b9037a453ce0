// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"
	"time"
)

// Bulk are transfers that begin together. Latency is from the beginning, with
// the handshakes, to the last byte of each; up, to the server's word that it has
// all of them.
type Bulk struct {
	// Up is from the client to the server.
	Up      bool
	Streams int
	// Bytes of each stream.
	Bytes int64
	// Patience with a stream on which nothing moves; 0 is [Patience].
	Patience time.Duration
}

// String says what the load is.
func (w Bulk) String() string {
	direction := "downloads"
	if w.Up {
		direction = "uploads"
	}
	return fmt.Sprintf("%d %s of %.3g MB at once", w.Streams, direction, float64(w.Bytes)/1e6)
}

// Run runs the workload.
func (w Bulk) Run(ctx context.Context, dial Dialer) (*Result, error) {
	if err := Fixed(w.Bytes).check("stream", askSize); err != nil {
		return nil, err
	}
	a := ask{kind: exchange, request: askSize, answer: uint64(w.Bytes)}
	if w.Up {
		a = ask{kind: exchange, request: uint64(w.Bytes), answer: 1}
	}
	s := schedule{actions: make([]action, w.Streams), patience: w.Patience}
	for i := range s.actions {
		s.actions[i] = action{ask: a, session: -1}
	}
	return s.result(ctx, dial, func(a *action) (at, took time.Duration) { return 0, a.last })
}
