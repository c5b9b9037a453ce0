// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// RunClient is a client process: it does one job and writes its result to out
// as a line of JSON.
//
// With the workload Tunnels the line is written when the tunnels are idle. Then
// each line on in asks for one more exchange on a new connection, whose result
// is written as another line, until in ends and the tunnels are closed.
func RunClient(ctx context.Context, job *Job, in io.Reader, out io.Writer) error {
	lines := json.NewEncoder(out)
	var r Result
	var err error
	switch job.Workload {
	case BulkUp, BulkDown:
		r, err = runBulk(ctx, job)
	case Connections:
		r, err = runConnections(ctx, job)
	case Arrivals:
		r, err = runArrivals(ctx, job)
	case Tunnels:
		return runTunnels(ctx, job, func(r Result) error {
			if err := lines.Encode(r); err != nil {
				return err
			}
			for wishes := bufio.NewScanner(in); wishes.Scan(); {
				one, err := runOne(ctx, job)
				if err != nil {
					return err
				}
				if err := lines.Encode(one); err != nil {
					return err
				}
			}
			return nil
		})
	default:
		return fmt.Errorf("unknown workload %q", job.Workload)
	}
	if err != nil {
		return err
	}
	return lines.Encode(r)
}
