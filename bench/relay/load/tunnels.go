// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"

	"golang.org/x/sys/unix"
)

// opening is how many tunnels are opened at a time.
const opening = 64

// runTunnels is the workload Tunnels. It calls held once all tunnels that can
// be had are idle, with them and until it returns.
func runTunnels(ctx context.Context, job *Job, held func(Result) error) error {
	x, err := newExchanger(job, job.Streams, true)
	if err != nil {
		return err
	}
	err = x.run(ctx, min(opening, job.Streams))
	// The loop has ended: nothing reads the idle sockets, nothing is sent.
	defer func() {
		for _, e := range x.idle {
			unix.Close(e.socket.FD)
		}
	}()
	if err != nil {
		return err
	}
	return held(x.result)
}

// runOne has one exchange on a new connection.
func runOne(ctx context.Context, job *Job) (Result, error) {
	x, err := newExchanger(job, 1, false)
	if err != nil {
		return Result{}, err
	}
	err = x.run(ctx, 1)
	return x.result, err
}
