// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy"
)

// tuner puts options of connections into force with eBPF. It implements
// proxy.Tuner: what the event loops want is done one after the other on a
// goroutine of its own, because it takes a walk through all sockets.
type tuner struct {
	programs *bpf.Programs                // nil where eBPF is not to be had
	steering atomic.Pointer[bpf.Steering] // nil: missing says why
	wanted   bpf.Options
	server   *proxy.Server
	log      *slog.Logger

	mu      sync.Mutex
	missing error
	waiting []func()      // what connections wait for
	changes []change      // of which one of waiting takes all
	replies []bpf.Reply   // likewise, at most maxSpare
	spare   []func()      // for peers that come again: at most maxSpare, and done last
	dropped uint64        // what there was no room for
	more    chan struct{} // has room for one

	// Of the goroutine: when it put changes into force last, and how long that took.
	walked   time.Time
	walkTook time.Duration

	ended   chan struct{}
	working sync.WaitGroup
	hearing sync.WaitGroup
}

var (
	errNoSteering  = errors.New("no configuration has wanted options, so that the eBPF programs for it are not loaded")
	errRedundant   = errors.New("one MPTCP connection cannot carry bytes twice: it takes an upstream with convert.redundant")
	errPaths       = fmt.Errorf("only the first %d paths are told apart", bpf.MaxPaths)
	errSegmentsToo = errors.New("the kernel cannot count segments, and the RTT is not known yet")
	errBegun       = errors.New("the connection has sent data already")
	errNotTaken    = errors.New("the kernel did not take it on a subflow")
)

// wantedPrograms are those that a configuration needs: steering costs something
// for each connection, so that it is there only where somebody may use it.
// Inherited says that a process before this one has some.
func wantedPrograms(c *config.Config, inherited bool) bpf.Options {
	steering, requests := c.UsesOptions()
	return bpf.Options{Joins: true, Events: managesPaths(c), Steering: steering, Requests: requests, Inherited: inherited}
}

// newTuner takes the programs there are of those that are wanted; nil for none.
func newTuner(programs *bpf.Programs, wanted bpf.Options, noEBPF error, log *slog.Logger) *tuner {
	t := &tuner{programs: programs, wanted: wanted, missing: noEBPF, log: log, more: make(chan struct{}, 1), ended: make(chan struct{})}
	if programs != nil && programs.Steering() == nil {
		t.missing = cmp.Or(programs.Missing(), errNoSteering)
	}
	return t
}

// start begins to work for a server.
func (t *tuner) start(s *proxy.Server) {
	t.server = s
	t.working.Go(t.work)
	t.take()
}

// take begins to use the programs, once there are some.
func (t *tuner) take() {
	if t.programs == nil || t.steering.Load() != nil {
		return
	}
	if s := t.programs.Steering(); s != nil {
		t.steering.Store(s)
		t.hearing.Go(func() { t.listen(s) })
	}
}

// prepare loads what a new configuration wants of the programs and what is not
// there yet. They stay when no configuration wants them any more. It says what it
// cannot do; "" for nothing.
func (t *tuner) prepare(c *config.Config) string {
	wanted := t.wanted
	steering, requests := c.UsesOptions()
	wanted.Steering, wanted.Requests = wanted.Steering || steering, wanted.Requests || requests
	if wanted == t.wanted || t.programs == nil {
		return ""
	}
	t.wanted = wanted
	err := t.programs.Extend(wanted)
	t.take()
	if err == nil {
		return ""
	}
	t.mu.Lock()
	t.missing = err
	t.mu.Unlock()
	return "options of connections are not put into force: " + err.Error()
}

// stop ends the work, then closes the programs, which ends what is read from
// them.
func (t *tuner) stop(closePrograms func()) {
	close(t.ended)
	t.working.Wait()
	closePrograms()
	t.hearing.Wait()
}

// maxSpare bounds what peers may have wait.
const maxSpare = 1024

// later has something done on the goroutine.
func (t *tuner) later(f func()) {
	t.mu.Lock()
	t.waiting = append(t.waiting, f)
	t.mu.Unlock()
	t.wake()
}

// laterIfRoom has something done for a peer, unless too much waits already: it
// asks again.
func (t *tuner) laterIfRoom(f func()) {
	t.mu.Lock()
	room := len(t.spare) < maxSpare
	if room {
		t.spare = append(t.spare, f)
	} else {
		t.dropped++
	}
	t.mu.Unlock()
	if room {
		t.wake()
	}
}

func (t *tuner) wake() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// next takes what is to be done next; nil for nothing.
func (t *tuner) next() (f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := &t.waiting
	if len(*from) == 0 {
		from = &t.spare
	}
	if len(*from) == 0 {
		t.waiting, t.spare = nil, nil // gives the memory back
		return nil
	}
	f, *from = (*from)[0], (*from)[1:]
	return f
}

// ignored is how many requests and answers of peers were dropped.
func (t *tuner) ignored() uint64 {
	s := t.steering.Load()
	if s == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped + s.Ignored()
}

func (t *tuner) work() {
	for {
		select {
		case <-t.more:
		case <-t.ended:
			return
		}
		for f := t.next(); f != nil; f = t.next() {
			select {
			case <-t.ended:
				return
			default:
				f()
			}
		}
	}
}

// Supports implements proxy.Tuner.
func (t *tuner) Supports(s options.Set) (list []options.Reason) {
	for o, v := range s.All() {
		if err := t.supports(o, v); err != nil {
			list = append(list, options.Reason{Option: o, Err: err})
		}
	}
	return list
}

func (t *tuner) supports(o options.Option, v options.Value) error {
	steering := t.steering.Load()
	switch {
	case steering == nil:
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.missing
	case o == options.Scheduler && v.Schedule().Mode == options.ModeRedundant:
		return errRedundant
	case o == options.SubflowRateLimit && v.RateLimit().Path > bpf.MaxPaths:
		return errPaths
	case o == options.CongestionControl:
		err, known := steering.CongestionControls()[v.CongestionControl()]
		if !known {
			return fmt.Errorf("connections with %s cannot be steered", v.CongestionControl())
		}
		return err
	}
	_, err := o.OnSubflow(v)
	return err
}

// Apply implements proxy.Tuner.
func (t *tuner) Apply(token uint32, s options.Set, done func([]options.Reason)) {
	if t.steering.Load() == nil {
		done(t.Supports(s))
		return
	}
	t.applyLater(change{token, s, done})
}

// applied tells which options of a set could not be put into force.
func (t *tuner) applied(token uint32, s options.Set, err error) (failed []options.Reason) {
	if s.Empty() {
		if err != nil {
			t.log.Debug("options of a connection were not taken back", "token", admin.Token(token).String(), "err", err)
		}
		return nil
	}
	var state [bpf.MaxPaths]bpf.PathState
	if err == nil {
		state, err = t.steering.Load().State(token)
	}
	if err != nil {
		for o := range s.All() {
			failed = append(failed, options.Reason{Option: o, Err: err})
		}
		return failed
	}
	var refused bpf.RefusedOptions
	for i := range state {
		refused |= state[i].Refused
	}
	for o := range s.All() {
		switch {
		case !refused.Has(uint8(o)):
		case o == options.InitialWindow:
			failed = append(failed, options.Reason{Option: o, Err: errBegun})
		default:
			failed = append(failed, options.Reason{Option: o, Err: errNotTaken})
		}
	}
	return failed
}
