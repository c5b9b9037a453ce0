// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
	"github.com/tandem-gateway/tandem/bench/relay/report"
)

// options of a benchmark.
type options struct {
	runs       int
	cell       time.Duration
	warmUp     time.Duration // of bulk streams
	tunnels    int
	settle     time.Duration // how long idle tunnels are left alone before memory is read
	giveBack   time.Duration // how long a relay may take to notice that all have gone
	congestion string
	peers      []peers.Peer
	scenarios  []scenario
	self       string
	progress   io.Writer
}

// patience is how long anything may take that ought to be immediate.
const patience = 3 * time.Second

// about describes how the report was made.
func (o *options) about() []string {
	lines := []string{
		fmt.Sprintf("%d repetitions in turns, of %v each, bulk after %v to warm up; medians and (range).", o.runs, o.cell, o.warmUp),
		"A ratio is the median of those within each round.",
		"CPU is that of the relay's processes. Everything shares the CPUs: client, source and relay.",
	}
	for _, p := range o.peers {
		lines = append(lines, fmt.Sprintf("  %s, %s: %s", p.Name, p.Front, p.About))
	}
	return lines
}

// measureAll runs all scenarios and adds their samples to the report.
func measureAll(ctx context.Context, o options, r *report.Report) (err error) {
	s, err := newStage(ctx, o.self, o.congestion)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	dir, err := os.MkdirTemp("", "relaybench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, p := range o.peers {
		r.Row(p.Name, string(p.Front))
	}
	for i := range o.scenarios {
		sc := &o.scenarios[i]
		r.Begin(sc.Scenario)
		t := &trial{options: &o, stage: s, scenario: sc, report: r, dir: filepath.Join(dir, sc.Name)}
		if sc.Kind == report.Tunnels {
			err = t.tunnels(ctx)
		} else {
			err = t.rates(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", sc.Name, err)
		}
	}
	return nil
}

// trial is the run of one scenario.
type trial struct {
	*options
	stage    *stage
	scenario *scenario
	report   *report.Report
	dir      string
}

// contestant is a peer within a scenario.
type contestant struct {
	peer     *peers.Peer
	instance *peers.Instance // nil for direct
	job      load.Job
	out      bool // failed: not run again
}

// contestants prepares the peers, without starting them.
func (t *trial) contestants() []*contestant {
	service := t.scenario.workload.Service()
	var all []*contestant
	for i := range t.peers {
		c := &contestant{peer: &t.peers[i]}
		c.job = load.Job{
			Workload: t.scenario.workload, MPTCP: t.scenario.mptcp, Streams: t.scenario.streams,
			Duration: t.cell, WarmUp: t.warmUp, Patience: patience,
			Via: relayPort(i),
		}
		switch c.peer.Front {
		case peers.None:
			c.job.Via = sourcePort(service, t.scenario.mptcp)
		case peers.SOCKS5:
			c.job.Target = sourcePort(service, false)
		}
		all = append(all, c)
	}
	return all
}

// start starts a contestant's relay. A relay that does not start is out; that
// is not an error of the benchmark.
func (t *trial) start(ctx context.Context, c *contestant) error {
	if c.peer.Front == peers.None {
		return nil
	}
	dir := filepath.Join(t.dir, c.peer.Name+"-"+string(c.peer.Front))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	i, err := c.peer.Start(ctx, t.stage.host, peers.Setup{
		Listen: c.job.Via,
		Target: sourcePort(t.scenario.workload.Service(), false),
		MPTCP:  t.scenario.mptcp, Bulk: t.scenario.bulk(), Dir: dir,
	})
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		t.fail(c, 0, err)
		return nil
	}
	c.instance = i
	return nil
}

// stop ends the relays.
func stop(contestants []*contestant) error {
	var errs []error
	for _, c := range contestants {
		if c.instance != nil {
			errs = append(errs, c.instance.Stop())
		}
	}
	return errors.Join(errs...)
}

// sample is an empty sample of a contestant.
func (t *trial) sample(c *contestant, run int) report.Sample {
	return report.Sample{Scenario: t.scenario.Name, Peer: c.peer.Name, Front: string(c.peer.Front), Run: run}
}

// fail notes why a contestant is out.
func (t *trial) fail(c *contestant, run int, err error) {
	s := t.sample(c, run)
	s.Error = err.Error()
	if c.instance != nil {
		select {
		case <-c.instance.Done():
			s.Error = "died: " + s.Error
		default:
		}
	}
	c.out = true
	t.add(s, s.Error)
}

// add adds a sample and tells of it.
func (t *trial) add(s report.Sample, text string) {
	t.report.Add(s)
	fmt.Fprintf(t.progress, "%s %d/%d %s %s: %s\n", s.Scenario, s.Run+1, t.runs, s.Peer, s.Front, text)
}
