// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
)

// besideMetric is what is measured of relays that carry a load at the same time.
const besideMetric = "CPU side by side"

// besideLength is how long they do so for one value of each: a multiple of what
// telemetry does each second.
func besideLength(e *experiment.Env) time.Duration {
	if e.Quick {
		return 50 * time.Millisecond
	}
	return time.Second
}

// beside has contestants carry new connections at the same time, in turns of one
// connection, each as many at a time as if it were alone. What the machine does
// meanwhile, and how fast it is, meets all of them alike, so that their CPU times
// differ by what they do. What they do only after a while is counted in the next
// round, which is to follow at once.
func (f *field) beside(ctx context.Context, round int, p part, contestants ...*contestant) error {
	job := load.Job{Workload: p.workload, MPTCP: p.mptcp, Streams: p.streams * len(contestants), Duration: besideLength(f.e), Patience: f.patience()}
	runs := make([]*run, len(contestants))
	before := make([]float64, len(contestants))
	var relays []netip.AddrPort
	for i, c := range contestants {
		runs[i] = c.lanes[p.lane()]
		if runs[i].failed != nil {
			return fmt.Errorf("%s: %w", c.name, runs[i].failed)
		}
		var err error
		if before[i], err = runs[i].cpu(); err != nil {
			return err
		}
		relays = append(relays, runs[i].via)
	}
	job.Via, job.Beside = relays[0], relays[1:]
	got, err := f.stage.do(ctx, job)
	if err != nil {
		return err
	}
	if got.Failed > got.Connections {
		return fmt.Errorf("%s: %w", p.name, failure(&got))
	}
	f.lostBeside += got.Failed
	for i, c := range contestants {
		after, err := runs[i].cpu()
		if err != nil {
			return err
		}
		m := experiment.Measured{}
		if got.Each[i] > 0 {
			costs(m, p.metric(besideMetric), (after-before[i])/float64(got.Each[i])*1e6)
		}
		f.r.Add(c.name, round, m)
	}
	return nil
}
