// SPDX-License-Identifier: Apache-2.0

package applications

import (
	"context"
	"errors"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/testbed"
)

// turns measures all ways in turns, and counts what each of them carries
// meanwhile.
func (t *trial) turns(ctx context.Context, n int, measure func(context.Context, testbed.Way, int) (experiment.Measured, error)) error {
	var arms []experiment.Arm
	for _, w := range t.ways {
		arms = append(arms, experiment.Arm{
			Name: w.Name, MayFail: t.mayFail[w.Name],
			Measure: func(ctx context.Context, round int) (m experiment.Measured, err error) {
				meterErr := t.metered(ctx, func() error {
					m, err = measure(ctx, w, round)
					return nil
				})
				return m, errors.Join(err, meterErr)
			},
		})
	}
	return t.r.Turns(ctx, n, arms...)
}
