// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/tproxy"
)

// gateway is a running tandem: the proxy with everything around it.
type gateway struct {
	log       *slog.Logger
	logs      *logs
	machine   machine
	programs  *bpf.Programs // nil where eBPF is not to be had
	noEBPF    error         // why
	tuner     *tuner
	limiter   *policy.Limiter
	server    *proxy.Server
	rules     interception
	paths     pathManagers
	file      string // of the configuration; empty: the embedded one
	started   time.Time
	admin     operators
	manager   supervision
	observers observers
	aaa       aaa
	command   []string // that starts a successor
	confined  bool     // to some files

	serving context.Context // until the end is wanted
	end     context.CancelCauseFunc

	changing sync.Mutex // of who changes what runs

	mu        sync.Mutex // of what follows; held for moments, and to write by who changes what runs
	current   *setup     // what a reload replaces
	bound     []proxy.Bound
	ending    bool
	successor int // its process; 0: none
}

// startGateway brings up everything that a configuration asks for, or nothing.
// File is where the configuration is from, and left what a predecessor leaves or
// the service manager has opened, nil if there is neither.
func startGateway(c *config.Config, file string, logs *logs, left *estate) (*gateway, error) {
	g := &gateway{log: logs.logger, logs: logs, machine: lookAtMachine(), file: file, started: time.Now(), command: ownCommand()}
	g.serving, g.end = context.WithCancelCause(context.Background())
	g.rules.log = g.log
	for _, w := range c.Warnings {
		g.log.Warn(w.String())
	}
	var err error
	if g.limiter, err = policy.NewLimiter(limits(&c.Limits)); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	g.observers.log = connectionLog{g.log}
	loops := eventLoops(c.Workers)
	makeRoom(loops)
	options := proxy.Options{FirstID: left.freeID(), Workers: loops, Limiter: g.limiter, Recorder: &g.observers, Paths: &g.paths, Log: g.log}
	wanted := wantedPrograms(c, left.succeeds())
	if g.programs, g.noEBPF = bpf.Open(wanted); g.noEBPF == nil {
		options.SYNACKs = g.programs.SYNACKs()
	}
	g.tuner = newTuner(g.programs, wanted, g.noEBPF, g.log)
	options.Tuner = g.tuner
	// The programs came first: their cgroup may take root to make.
	if g.confined, err = confine(c, file, g.command, left, g.log); err == nil {
		err = g.begin(c, options, left)
	}
	if err != nil {
		g.giveUp(left)
		return nil, err
	}
	g.admin.open(c.Admin, left, g.log)
	if left != nil {
		left.close()
	}
	return g, nil
}

// begin brings up what serves clients.
func (g *gateway) begin(c *config.Config, o proxy.Options, left *estate) (err error) {
	if g.server, err = proxy.NewServer(o); err != nil {
		return err
	}
	g.paths.server = g.server
	g.tuner.start(g.server)
	if err := g.aaa.start(&c.Subscribers, left, g.server, g.log); err != nil {
		return fmt.Errorf("subscribers: %w", err)
	}
	if left != nil {
		g.rules.succeeds = left.Table
		g.observers.inherited = left.Scrapes
		if err := g.server.Inherit(left.Sockets); err != nil {
			return err
		}
	}
	if _, err := g.apply(c); err != nil {
		return err
	}
	return g.observers.start(g, c)
}

// giveUp ends what there is of a gateway that could not be brought up, and leaves
// to its predecessor what that has.
func (g *gateway) giveUp(left *estate) {
	if left.succeeds() && g.programs != nil {
		g.programs.Leave()
	}
	if g.server != nil {
		g.server.Close()
	}
	g.takeDown()
}

// eventLoops is how many there are to be.
func eventLoops(configured int) int { return cmp.Or(configured, runtime.GOMAXPROCS(0)) }

// makeRoom gives the scheduler of Go two processors more than there are event
// loops. When all are taken by loops, its monitor takes them away in
// the middle of system calls, which makes short connections dearer. And when all
// wait in system calls, as the reader of eBPF events does as well, nobody but the
// monitor looks at timers and at the network, every 10 ms.
func makeRoom(loops int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), loops+2))
	}
}

// apply replaces what runs by what a configuration asks for. Lacking says what
// cannot be had. On an error nothing has changed.
func (g *gateway) apply(c *config.Config) (lacking string, err error) {
	next, err := newSetup(c, g.log, g.current)
	if err != nil {
		return "", err
	}
	g.aaa.join(next)
	next.resolver.CountIn(&g.observers.lookups)
	if next.intercepts() && !g.machine.netAdmin {
		return "", tproxy.ErrPermission // else a socket option says it, and not as well
	}
	// The kernel asks who manages a connection when that begins.
	began := g.paths.start(c, g.programs, g.log)
	if lacking, err = g.serve(next); err != nil && began {
		if err := g.paths.unmanage(); err != nil {
			g.log.Error("cannot put back the settings of the kernel's path manager", "err", err)
		}
	}
	return lacking, err
}

// tellsSYNACKs reports whether clients of any listener learn what servers
// answered with.
func tellsSYNACKs(c *config.Config) bool {
	return slices.ContainsFunc(c.Listeners, func(l config.Listener) bool { return l.Convert != nil && l.Convert.ExtendedHeader })
}

// serve puts a setup into force. It says what cannot be had.
func (g *gateway) serve(next *setup) (lacking string, err error) {
	bound, err := g.server.ApplyIf(next.listeners, func(bound []proxy.Bound) error {
		if err := g.rules.apply(next.intercepted(bound)); err != nil {
			return err
		}
		// From here on nothing fails: programs that cannot be had are done without.
		lacking = g.tuner.prepare(next.config)
		g.keepSYNACKs(next.config)
		return g.limiter.Update(next.limits) // newSetup has looked at them
	})
	if err != nil {
		return "", howToListen(err)
	}
	g.server.SetResolver(next.resolver)
	g.server.SetNetworks(accessNetworks(next.config.AccessNetworks))
	rules := g.rules.Interceptor
	next.start(func(ctx context.Context) {
		next.checkPools()
		next.checkReturnRoutes(ctx, rules)
	})
	before := g.current
	g.mu.Lock()
	g.current, g.bound = next, bound
	g.mu.Unlock()
	if before != nil {
		before.stop()
	}
	return lacking, nil
}

func (g *gateway) keepSYNACKs(c *config.Config) {
	if g.programs == nil {
		return
	}
	if err := g.programs.SYNACKs().Keep(tellsSYNACKs(c)); err != nil {
		g.log.Error("the Transport Converter cannot tell clients what servers answer with", "err", err)
	}
}

// reload reads the configuration again and returns it, with what of it waits
// until tandem is started again. On an error the one from before stays in force.
func (g *gateway) reload() (c *config.Config, late []string, err error) {
	if g.isEnding() {
		return nil, nil, admin.ErrDraining
	}
	err = g.manager.reload(g, func() error {
		c, late, err = g.reloadNow()
		return err
	})
	return c, late, err
}

func (g *gateway) reloadNow() (c *config.Config, late []string, err error) {
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.isEnding() {
		return nil, nil, admin.ErrDraining
	}
	c, err = load(g.file)
	before, lacking := g.current.config.Rights, ""
	if err == nil {
		lacking, err = g.apply(c)
	}
	if err != nil {
		g.log.Error("the configuration was not reloaded; the one from before stays in force", "err", err)
		return nil, nil, err
	}
	for _, w := range c.Warnings {
		g.log.Warn(w.String())
	}
	rights := ""
	if !reflect.DeepEqual(c.Rights, before) {
		rights = "rights change when tandem is started again"
	}
	for _, what := range []string{
		rights, lacking, g.logs.apply(c.Log), g.admin.apply(c.Admin), g.observers.apply(c), g.aaa.apply(g.current),
	} {
		if what != "" {
			late = append(late, what)
			g.log.Warn(what)
		}
	}
	g.log.Info("configuration reloaded", "listeners", len(c.Listeners), "upstreams", len(c.Upstreams))
	return c, late, nil
}

// errEnding is why an upgrade ends that is under way.
var errEnding = errors.New("this process is to end")

func (g *gateway) drainTimeout() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current.config.DrainTimeout
}

// stop drains until ctx ends, which will be after a time at most, then takes
// everything down.
func (g *gateway) stop(ctx context.Context, atMost time.Duration) {
	g.end(errEnding) // an upgrade under way is given up
	g.changing.Lock()
	g.mu.Lock() // there is no reload from now on
	g.ending = true
	g.mu.Unlock()
	g.changing.Unlock()
	// New connections of clients are to go where they go without Tandem.
	if err := g.rules.drain(); err != nil {
		g.log.Error("cannot stop intercepting", "err", err)
	}
	if n := g.server.Stats().Active; n > 0 {
		g.log.Info("draining", "connections", n, "at most", atMost)
	}
	left := g.server.Shutdown(ctx)
	g.takeDown()
	if left > 0 {
		g.log.Warn("connections were ended before their time", "connections", left)
	}
	g.log.Info("stopped")
}

// takeDown ends what is around the proxy, which has ended.
func (g *gateway) takeDown() {
	g.rules.remove()
	g.aaa.stop(g.log)
	g.observers.stop(g.log)
	if g.current != nil {
		g.current.stop()
	}
	g.stopPaths()
	g.closePrograms()
	g.admin.close()
}

func (g *gateway) stopPaths() {
	if err := g.paths.stop(); err != nil {
		g.log.Error("cannot put back the settings of the kernel's path manager", "err", err)
	}
}

func (g *gateway) closePrograms() {
	g.tuner.stop(func() {
		if g.programs == nil {
			return
		}
		if err := g.programs.Close(); err != nil {
			g.log.Error("cannot unload the eBPF programs", "err", err)
		}
	})
}
