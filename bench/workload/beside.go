// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
)

// Beside runs workloads at the same time on one way, each beginning a little
// after the one before. Its result is that of all.
type Beside struct {
	Workloads []Workload
	// Apart is the time between two beginnings.
	Apart time.Duration
}

// String names those workloads that differ.
func (w Beside) String() string {
	var names []string
	for i, one := range w.Workloads {
		if name := one.String(); i == 0 || name != names[len(names)-1] {
			names = append(names, name)
		}
	}
	return fmt.Sprintf("%d at once of: %s", len(w.Workloads), strings.Join(names, "; "))
}

// Run runs the workloads. Times of samples count from the first beginning.
func (w Beside) Run(ctx context.Context, dial Dialer) (*Result, error) {
	results := make([]*Result, len(w.Workloads))
	errs := make([]error, len(w.Workloads))
	start := time.Now()
	var working sync.WaitGroup
	for i, one := range w.Workloads {
		working.Go(func() {
			if errs[i] = await.Pause(ctx, time.Duration(i)*w.Apart); errs[i] != nil {
				return
			}
			after := time.Since(start)
			r, err := one.Run(ctx, dial)
			if err == nil {
				r.shift(after)
			}
			results[i], errs[i] = r, err
		})
	}
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	all, elapsed := NewResult(), time.Duration(0)
	for _, r := range results {
		elapsed = max(elapsed, r.Elapsed)
		all.Merge(r)
	}
	all.Elapsed = elapsed
	return all, nil
}

// shift moves a result to later.
func (r *Result) shift(by time.Duration) {
	for i := range r.Samples {
		r.Samples[i].At += by
	}
	r.Elapsed += by
}
