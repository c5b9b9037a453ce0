// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

const (
	// shortLife: a subflow that dies sooner counts as a failure of its path.
	shortLife = time.Second
	// The second attempt after a failure waits for firstDelay, each further one
	// twice as long as the one before, up to maxDelay.
	firstDelay = 500 * time.Millisecond
	maxDelay   = time.Minute
)

// trouble is what became of the subflows of a connection on one path.
type trouble struct {
	Path
	failures int   // in a row
	cause    Cause // of the last loss
}

// lost records the end of a subflow, which lived so long, or never.
func (t *trouble) lost(cause Cause, life time.Duration) {
	switch {
	case life < shortLife:
		t.failures++
	case cause == ClosedByPeer:
		// It may have its reasons, or be about to close the connection.
		t.failures = 2
	default:
		t.failures = 1
	}
	t.failures = min(t.failures, 32)
	t.cause = cause
}

// delay is how long to wait before the next attempt. The first one is made at
// once, except after an orderly end.
func (t *trouble) delay() time.Duration {
	n := t.failures
	if t.cause == ClosedByPeer {
		n = max(n, 2)
	}
	if n < 2 {
		return 0
	}
	if n > 10 {
		return maxDelay
	}
	return min(firstDelay<<(n-2), maxDelay)
}
