// SPDX-License-Identifier: Apache-2.0

// Package await waits in benchmarks: for a time, or until something holds.
package await

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotInTime is why an experiment cannot go on.
var ErrNotInTime = errors.New("did not happen in time")

// Pause waits for d, or until ctx ends, and returns its error then.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until asks every so often whether cond holds, and returns once it does or
// fails. The error is ErrNotInTime, with what was waited for, after the timeout.
func Until(ctx context.Context, timeout, every time.Duration, what string, cond func() (bool, error)) error {
	deadline := time.Now().Add(timeout)
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s %w (%v)", what, ErrNotInTime, timeout)
		}
		if err := Pause(ctx, every); err != nil {
			return err
		}
	}
}
