// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

// field is a stage with everybody who takes part.
type field struct {
	*stage
	r           *experiment.Result
	contestants []*contestant
	dir         string
	port        uint16 // of the next relay
	lostBeside  int    // connections that failed while relays ran side by side
}

// lane is what a relay is run for. What forwards has one target, so that each
// lane has a process of its own.
type lane struct {
	service load.Service
	mptcp   bool // to the client
}

// contestant is a relay, or none.
type contestant struct {
	name  string // of its arm
	peer  *peers.Peer
	lanes map[lane]*run

	lostCount int
	lostWhy   string
	remarked  map[string]bool
}

// lost counts connections that failed beside others that did not.
func (c *contestant) lost(r *load.Result) {
	c.lostCount += r.Failed
	if c.lostWhy == "" {
		c.lostWhy = r.Error
	}
}

// remarkLost tells how many connections failed.
func (f *field) remarkLost() {
	for _, c := range f.contestants {
		if c.lostCount > 0 {
			f.r.Remark(c.name, "%d connections failed: %s", c.lostCount, c.lostWhy)
		}
	}
}

// run is a contestant in a lane.
type run struct {
	via      netip.AddrPort
	target   netip.AddrPort  // to ask for
	instance *peers.Instance // nil without a relay
	// failed is why it does not run, or no longer.
	failed error
}

// newField makes a stage for all peers that are asked for. The caller closes it.
func newField(ctx context.Context, e *experiment.Env, r *experiment.Result) (*field, error) {
	all := peers.All(tools(e))
	f := &field{r: r, port: firstRelayPort}
	for i := range all {
		if p := &all[i]; wanted(e, p) {
			f.add(p.Label(), p)
		}
	}
	return f, f.open(ctx, e)
}

// open makes the stage.
func (f *field) open(ctx context.Context, e *experiment.Env) (err error) {
	if f.dir, err = os.MkdirTemp("", "relaybench"); err != nil {
		return err
	}
	if f.stage, err = newStage(ctx, e); err != nil {
		return errors.Join(err, os.RemoveAll(f.dir))
	}
	return nil
}

func tools(e *experiment.Env) peers.Tools {
	return peers.Tools{Child: e.Child, Tandem: e.Tandem, Dir: peers.Beside(e.Tandem)}
}

// inShortForms are the relays that short forms have beside Tandem.
var inShortForms = []string{"haproxy", "microsocks"}

func wanted(e *experiment.Env, p *peers.Peer) bool {
	switch p.Name {
	case peers.DirectName, peers.CopyName, peers.TandemName:
		return true
	}
	if e.Quick && len(e.Relays) == 0 {
		return slices.Contains(inShortForms, p.Name)
	}
	return e.Relay(p.Name)
}

func (f *field) add(name string, p *peers.Peer) {
	f.contestants = append(f.contestants, &contestant{name: name, peer: p, lanes: map[lane]*run{}})
}

// close takes everything down.
func (f *field) close() error {
	return errors.Join(f.stage.close(), os.RemoveAll(f.dir))
}

// start starts a contestant in a lane. A relay that does not start is no error
// of the experiment; the run says why. With descriptors, it may have so many.
func (f *field) start(ctx context.Context, c *contestant, l lane, descriptors int) (*run, error) {
	x := &run{}
	c.lanes[l] = x
	if c.peer.Front == peers.None {
		x.via = sourcePort(l.service, l.mptcp)
		return x, nil
	}
	x.via = netip.AddrPortFrom(relayAddr, f.port)
	if c.peer.Front == peers.SOCKS5 {
		x.target = sourcePort(l.service, false)
	}
	dir := filepath.Join(f.dir, strconv.Itoa(int(f.port)))
	f.port++
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	x.instance, x.failed = c.peer.Start(ctx, f.host, peers.Setup{
		Listen: x.via, Target: sourcePort(l.service, false), MPTCP: l.mptcp, Bulk: l.service != load.Answer,
		Dir: dir, Descriptors: descriptors,
	})
	return x, ctx.Err()
}

// startAll starts everybody in lanes. They end with the stage.
func (f *field) startAll(ctx context.Context, lanes ...lane) error {
	for _, c := range f.contestants {
		for _, l := range lanes {
			if c.lanes[l] != nil {
				continue
			}
			if _, err := f.start(ctx, c, l, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// arms are everybody as an arm of an experiment. A relay that fails is told in
// the table.
func (f *field) arms(measure func(context.Context, *contestant, int) (experiment.Measured, error)) []experiment.Arm {
	var arms []experiment.Arm
	for _, c := range f.contestants {
		arms = append(arms, experiment.Arm{
			Name: c.name, MayFail: c.peer.Front != peers.None && c.peer.Name != peers.CopyName,
			Measure: func(ctx context.Context, round int) (experiment.Measured, error) { return measure(ctx, c, round) },
		})
	}
	return arms
}

// patience is how long anything may take that ought to be immediate. Short forms
// run beside other tests.
func (f *field) patience() time.Duration {
	if f.e.Quick {
		return 30 * time.Second
	}
	return 3 * time.Second
}

// Why a peer does not take part.
var (
	errNoMPTCP = errors.New("does not speak MPTCP")
	errNothing = errors.New("nothing got through")
)

// failure is the error of a result in which too little succeeded.
func failure(r *load.Result) error {
	switch {
	case r.NotMPTCP:
		return errNoMPTCP
	case r.Error != "":
		return errors.New(r.Error)
	default:
		return errNothing
	}
}

// do has a client do a job in a lane, and returns the CPU time in seconds that
// the relay took for it. A relay that fails most of it has no figures.
func (f *field) do(ctx context.Context, x *run, job load.Job) (r load.Result, cpu float64, err error) {
	r, cpu, err = f.try(ctx, x, job)
	if err == nil && r.Failed > r.Connections {
		err = x.dead(failure(&r))
	}
	return r, cpu, err
}

// try does so, and leaves it at that as long as something succeeds.
func (f *field) try(ctx context.Context, x *run, job load.Job) (r load.Result, cpu float64, err error) {
	if x.failed != nil {
		return r, 0, x.failed
	}
	job.Via, job.Target, job.Patience = x.via, x.target, f.patience()
	before, err := x.cpu()
	if err != nil {
		return r, 0, err
	}
	if r, err = f.stage.do(ctx, job); err != nil {
		return r, 0, x.dead(err)
	}
	after, err := x.cpu()
	if err != nil {
		return r, 0, err
	}
	if r.Connections == 0 && r.Total == 0 {
		return r, 0, x.dead(failure(&r))
	}
	return r, after - before, nil
}

// dead says so if a relay has died.
func (x *run) dead(err error) error {
	if x.instance == nil || err == nil {
		return err
	}
	select {
	case <-x.instance.Done():
		return fmt.Errorf("died: %w", err)
	default:
		return err
	}
}

func (x *run) cpu() (float64, error) {
	if x.instance == nil {
		return 0, nil
	}
	cpu, err := x.instance.CPU()
	return cpu.Seconds(), err
}

// about makes a table of how everybody is run.
func (f *field) about(ctx context.Context) {
	f.r.NextTable("How each is run")
	f.r.Columns("", "speaks with clients", "version", "configuration")
	for _, c := range f.contestants {
		f.r.Row(c.name, string(c.peer.Front), c.peer.Version(ctx), c.peer.About)
	}
}
