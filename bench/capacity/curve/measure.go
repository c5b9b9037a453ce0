// SPDX-License-Identifier: Apache-2.0

package curve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/capacity"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
)

// opening is how many connections are opened at a time.
const opening = 64

// relay is a Tandem and what it has without connections.
type relay struct {
	measure.Group
	base   measure.Usage
	kernel measure.Kernel
}

// measure is one repetition with n connections.
func (s *stage) measure(ctx context.Context, n int, size *size) (m experiment.Measured, err error) {
	t, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	r := &relay{Group: measure.Group{PGID: t.Pid()}}
	// It may still be busy with its beginning.
	if err := await.Pause(ctx, size.each/2); err != nil {
		return nil, err
	}
	if r.base, err = r.Usage(); err != nil {
		return nil, err
	}
	if r.kernel, err = measure.ReadKernel(); err != nil {
		return nil, err
	}
	m = experiment.Measured{capacity.BaseMemory: mega(r.base.Memory)}
	if err := s.hold(ctx, r, n, size, m); err != nil {
		return nil, fmt.Errorf("idle: %w", err)
	}
	if err := s.carry(ctx, r, n, size, m); err != nil {
		return nil, fmt.Errorf("busy: %w", err)
	}
	return m, nil
}

// hold measures with n idle connections.
func (s *stage) hold(ctx context.Context, r *relay, n int, size *size, m experiment.Measured) (err error) {
	in, more := io.Pipe()
	c, err := s.client(ctx, in, load.Job{Workload: load.Tunnels, Streams: n})
	if err != nil {
		return err
	}
	// The client closes its connections when its input ends.
	defer func() { err = errors.Join(err, more.Close(), c.Wait()) }()
	if _, err := c.result(ctx, 3*patience); err != nil {
		return err
	}
	if err := await.Pause(ctx, size.idle/2); err != nil {
		return err
	}
	before, err := r.Usage()
	if err != nil {
		return err
	}
	if got := before.Descriptors - r.base.Descriptors; got != 2*n {
		return fmt.Errorf("%d connections have %d descriptors", n, got)
	}
	kernel, err := measure.ReadKernel()
	if err != nil {
		return err
	}
	if err := await.Pause(ctx, size.idle); err != nil {
		return err
	}
	idle, err := r.CPU()
	if err != nil {
		return err
	}
	m[capacity.UserMemory] = mega(before.Anonymous - r.base.Anonymous)
	// Of each connection one end is Tandem's.
	m[capacity.KernelMemory] = mega(kernel.Objects-r.kernel.Objects) / 2
	m[capacity.IdleCPU] = float64((idle - before.CPU).Milliseconds()) / size.idle.Seconds()

	got, err := s.do(ctx, load.Job{Workload: load.Connections, Streams: min(opening, spare/4), Duration: size.each}, nil)
	if err != nil {
		return err
	}
	after, err := r.CPU()
	if err != nil {
		return err
	}
	m[capacity.NewConnections] = got.PerSecond()
	m[capacity.CPUPerConnection] = float64((after - idle).Microseconds()) / float64(got.Connections)
	return nil
}

// carry measures n downloads at once.
func (s *stage) carry(ctx context.Context, r *relay, n int, size *size, m experiment.Measured) error {
	// What has been open is closed before.
	err := await.Until(ctx, patience, 10*time.Millisecond, "the end of idle connections", func() (bool, error) {
		u, err := r.Usage()
		return u.Descriptors <= r.base.Descriptors, err
	})
	if err != nil {
		return err
	}
	if err := s.limitBuffers(n); err != nil {
		return err
	}
	kernel, err := measure.ReadKernel()
	if err != nil {
		return err
	}
	var seen meter
	var memory, reserved int64
	look := func() error {
		u, err := r.Usage()
		if err != nil {
			return err
		}
		// A connection that the source's backlog has no room for may be late.
		if seen.add(u.CPU); seen.open.IsZero() && u.Descriptors >= r.base.Descriptors+2*(n-n/50) {
			seen.open = time.Now()
		}
		k, err := measure.ReadKernel()
		memory, reserved = max(memory, u.Anonymous), max(reserved, k.Buffers-kernel.Buffers)
		return err
	}
	job := load.Job{Workload: load.BulkDown, Streams: n, WarmUp: size.busy / 2, Duration: size.busy}
	got, err := s.do(ctx, job, look)
	if err != nil {
		return err
	}
	cores, err := seen.cores(job.WarmUp, job.Duration)
	if err != nil {
		return err
	}
	m[capacity.Throughput] = got.BitsPerSecond() / 1e9
	m[capacity.CPUPerGB] = cores / (got.BitsPerSecond() / 8e9)
	m[busyMemory], m[buffers] = mega(memory), mega(reserved)
	return nil
}

func mega(bytes int64) float64 { return float64(bytes) / 1e6 }
