// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/await"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/measure"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/relay/report"
)

// holdTime bounds the time that one relay takes.
const holdTime = time.Minute

// tunnels runs a scenario of idle tunnels, once with each relay, which is
// started for it: what it has allocated before would hide what it needs.
func (t *trial) tunnels(ctx context.Context) error {
	for _, c := range t.contestants() {
		if c.peer.Front == peers.None {
			continue
		}
		if err := t.holdOne(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) holdOne(ctx context.Context, c *contestant) (err error) {
	if err := t.start(ctx, c); err != nil || c.out {
		return err
	}
	defer func() { err = errors.Join(err, c.instance.Stop()) }()
	held, err := t.hold(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("took longer than %v", holdTime)
	}
	if err != nil {
		t.fail(c, 0, err)
		return nil
	}
	s := t.sample(c, 0)
	s.Held = held
	if !held.Survived {
		s.Note = "died"
	}
	t.add(s, fmt.Sprintf("%d tunnels, %.2f descriptors and %.0f bytes each", held.Opened, held.DescriptorsEach(), held.MemoryEach()))
	return nil
}

// hold opens the tunnels and measures.
func (t *trial) hold(ctx context.Context, c *contestant) (*report.Held, error) {
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	held := &report.Held{Wanted: t.options.tunnels}
	// It may still be busy with the probe that found it listening.
	err := await.Pause(ctx, t.settle)
	if err != nil {
		return nil, err
	}
	var usage [3]measure.Usage
	if usage[0], err = c.instance.Usage(); err != nil {
		return nil, err
	}
	job := c.job
	job.Streams, job.Duration = held.Wanted, 0
	client, err := t.stage.start(ctx, job)
	if err != nil {
		return nil, err
	}
	defer client.close()
	r, err := client.read()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	held.Opened = r.Connections
	if held.Opened == 0 {
		return nil, failure(&r)
	}
	if err := await.Pause(ctx, t.settle); err != nil {
		return nil, err
	}
	if usage[1], err = c.instance.Usage(); err != nil {
		return nil, err
	}
	next, err := another(client)
	if err != nil {
		return nil, err
	}
	if next.Connections == 1 {
		held.Next = next.P50
	}
	client.in.Close()
	if err := client.Wait(); err != nil {
		return nil, client.failed(err)
	}
	if usage[2], err = t.awaitGivenBack(ctx, c, usage[0].Descriptors); err != nil {
		return nil, err
	}
	for i, u := range usage {
		held.Memory[i], held.Descriptors[i] = u.Memory, u.Descriptors
	}
	held.Survived = usage[2].Processes > 0
	return held, nil
}

// another has one more exchange beside the tunnels.
func another(c *child) (load.Result, error) {
	if _, err := c.ask.Write([]byte("\n")); err != nil {
		return load.Result{}, err
	}
	return c.read()
}

// awaitGivenBack waits until a relay has no more descriptors than before, and
// returns what it has then, or at last.
func (t *trial) awaitGivenBack(ctx context.Context, c *contestant, before int) (measure.Usage, error) {
	deadline := time.Now().Add(t.giveBack)
	for {
		u, err := c.instance.Usage()
		if err != nil || u.Descriptors <= before || time.Now().After(deadline) {
			return u, err
		}
		if err := await.Pause(ctx, 50*time.Millisecond); err != nil {
			return u, err
		}
	}
}
