// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

// besideMetric is what is measured of relays that carry a load at the same time.
const besideMetric = "CPU side by side"

// besideLengths are how long they do so before what is measured, and while it is: two
// of the seconds in which telemetry does some of its work, but for the first one, in
// which it does much for the first time.
func besideLengths(e *experiment.Env) []time.Duration {
	if e.Quick {
		return []time.Duration{50 * time.Millisecond}
	}
	return []time.Duration{1300 * time.Millisecond, 2 * time.Second}
}

// beside has contestants carry new connections at the same time, in turns of one
// connection, each as many at a time as if it were alone. What the machine does
// meanwhile, and how fast it is, meets all of them alike, so that their CPU times
// differ by what they do. Processes that do the same differ by a per cent or two for
// as long as they live, so that each round has new ones.
func (f *field) beside(ctx context.Context, round int, p part, contestants ...*contestant) error {
	runs := make([]*run, len(contestants))
	for i, c := range contestants {
		x, err := f.start(ctx, c, p.lane(), 0)
		if err != nil {
			return err
		}
		if x.failed != nil {
			return fmt.Errorf("%s: %w", c.name, x.failed)
		}
		defer x.instance.Stop() // it ends with the stage if it does not now
		delete(c.lanes, p.lane())
		runs[i] = x
	}
	job := load.Job{Workload: p.workload, MPTCP: p.mptcp, Streams: p.streams * len(contestants), Patience: f.patience()}
	for i, x := range runs {
		if i == 0 {
			job.Via = x.via
		} else {
			job.Beside = append(job.Beside, x.via)
		}
	}
	var each []float64
	for _, job.Duration = range besideLengths(f.e) {
		var err error
		if each, err = f.carry(ctx, p, job, runs); err != nil {
			return err
		}
	}
	for i, c := range contestants {
		m := experiment.Measured{}
		costs(m, p.metric(besideMetric), each[i]*1e6)
		f.r.Add(c.name, round, m)
	}
	return nil
}

// carry has a client do a job through several runs, and returns the CPU time in
// seconds that each connection took of each, 0 if there was none.
func (f *field) carry(ctx context.Context, p part, job load.Job, runs []*run) ([]float64, error) {
	each := make([]float64, len(runs))
	for i, x := range runs {
		cpu, err := x.cpu()
		if err != nil {
			return nil, err
		}
		each[i] = -cpu
	}
	got, err := f.stage.do(ctx, job)
	if err != nil {
		return nil, err
	}
	if got.Failed > got.Connections {
		return nil, fmt.Errorf("%s: %w", p.name, failure(&got))
	}
	f.lostBeside += got.Failed
	for i, x := range runs {
		cpu, err := x.cpu()
		if err != nil {
			return nil, err
		}
		if each[i] += cpu; got.Each[i] > 0 {
			each[i] /= float64(got.Each[i])
		} else {
			each[i] = 0
		}
	}
	return each, nil
}
