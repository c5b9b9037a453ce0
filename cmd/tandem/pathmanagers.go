// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy"
)

// stateDirectory holds what has to be known after a crash.
const stateDirectory = "/run/tandem"

// pathManagers manages the subflows of connections once something is
// configured to be managed. Until then, and where that is not possible, the
// path manager of the kernel does, and is watched while somebody wants to see
// that: to follow each connection has a price.
type pathManagers struct {
	server *proxy.Server
	engine atomic.Pointer[paths.Engine] // nil while nobody needs one

	mu       sync.Mutex // of what follows, and of whoever begins or ends the engine
	options  paths.Options
	manages  bool // else the engine watches
	watchers int
	failed   bool
}

// Adopt implements proxy.Paths.
func (p *pathManagers) Adopt(token uint32, policy *paths.Policy, initiator bool) {
	if e := p.engine.Load(); e != nil {
		e.Adopt(token, policy, initiator)
	}
}

// Forget implements proxy.Paths.
func (p *pathManagers) Forget(token uint32) {
	if e := p.engine.Load(); e != nil {
		e.Forget(token)
	}
}

// Drain implements proxy.Paths.
func (p *pathManagers) Drain(token uint32, numbers []int, done func(error)) {
	if e := p.engine.Load(); e != nil {
		e.Drain(token, numbers, done)
		return
	}
	done(paths.ErrKernels)
}

// managed reports whether a configuration leaves any subflows to Tandem, and
// for how long connections may be without at most.
func managed(c *config.Config) (any bool, keep time.Duration) {
	each := func(p *config.Paths) {
		any = any || p.Managed()
		keep = max(keep, p.Keep)
	}
	for i := range c.Listeners {
		each(&c.Listeners[i].Paths)
	}
	for i := range c.Upstreams {
		each(&c.Upstreams[i].Paths)
	}
	return any, keep
}

func managesPaths(c *config.Config) bool {
	any, _ := managed(c)
	return any
}

// start begins to manage if a configuration wants that and nothing did so far,
// which it reports: unmanage takes it back. Where it is not possible, it says so
// once.
func (p *pathManagers) start(c *config.Config, programs *bpf.Programs, log *slog.Logger) (began bool) {
	wanted, keep := managed(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed || p.manages {
		return false
	}
	p.options = p.optionsFor(keep, programs, log)
	e := p.engine.Load()
	var err error
	switch {
	case wanted && e != nil:
		err = e.Manage()
	case wanted:
		if e, err = paths.New(p.options); err == nil {
			p.engine.Store(e)
		}
	case e == nil:
		// A tandem that was killed may have left the namespace in its hands.
		if err := paths.Recover(pathState()); err != nil {
			log.Warn("cannot put back the settings of MPTCP that a killed tandem has changed", "err", err)
		}
	}
	if err != nil {
		p.failed = true
		log.Warn("subflows are left to the path manager of the kernel", "err", err)
	}
	p.manages = wanted && err == nil
	return p.manages
}

// unmanage leaves subflows to the kernel as before start, and still watches for
// those who want that.
func (p *pathManagers) unmanage() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.manages = false
	e := p.engine.Load()
	if p.watchers > 0 {
		return e.Unmanage()
	}
	p.engine.Store(nil)
	return e.Close()
}

func (p *pathManagers) optionsFor(keep time.Duration, programs *bpf.Programs, log *slog.Logger) paths.Options {
	o := paths.Options{
		State: pathState(),
		Keep:  keep,
		Log:   log,
		Expired: func(token uint32, last paths.Cause) {
			log.Debug("connection was without subflows for too long", "token", token, "last", last.String())
			p.server.Abandon(token)
		},
	}
	err := os.MkdirAll(stateDirectory, 0o755)
	if err == nil {
		err = unix.Access(stateDirectory, unix.W_OK)
	}
	if err != nil {
		log.Warn("a killed tandem would leave its settings of MPTCP behind", "err", err)
		o.State = ""
	}
	if programs != nil {
		o.Events = programs.Events()
	}
	return o
}

// watch returns the engine, one that only watches if nothing is managed.
// Whoever watches says release at the end.
func (p *pathManagers) watch() (e *paths.Engine, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e = p.engine.Load(); e == nil {
		o := p.options
		o.Observe = true
		if e, err = paths.New(o); err != nil {
			return nil, nil, err
		}
		p.engine.Store(e)
		// From now on sessions tell of theirs.
		kernel := (&paths.Policy{Name: string(config.PathsKernel)}).WithDefaults()
		for leg := range p.server.Legs() {
			e.Adopt(leg.Token, kernel, leg.Initiator)
		}
	}
	p.watchers++
	return e, p.release, nil
}

func (p *pathManagers) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers--; p.watchers > 0 || p.manages {
		return
	}
	if e := p.engine.Swap(nil); e != nil {
		if err := e.Close(); err != nil {
			p.options.Log.Warn("watching subflows did not end well", "err", err)
		}
	}
}

// pathState is the file in which the settings of this network namespace are
// kept while Tandem has changed them.
func pathState() string {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &ns); err != nil {
		return ""
	}
	return filepath.Join(stateDirectory, fmt.Sprintf("paths-%d.json", ns.Ino))
}

// stop puts back what start has changed.
func (p *pathManagers) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.manages = false
	if e := p.engine.Swap(nil); e != nil {
		return e.Close()
	}
	return nil
}

// pathPolicy is what a configuration says about subflows.
func pathPolicy(c *config.Paths) (*paths.Policy, error) {
	manager, err := paths.Named(string(c.Manager), paths.Settings{
		Subflows: c.Subflows,
		Announce: c.Announce,
		MaxAge:   c.MaxAge,
		Bytes:    uint64(c.Bytes),
		After:    c.After,
		Below:    float64(c.Below),
		Then:     string(c.Then),
	})
	if err != nil {
		return nil, fmt.Errorf("paths: %w", err)
	}
	p := &paths.Policy{
		Manager:          manager,
		Name:             string(c.Manager),
		MaxSubflows:      c.MaxSubflows,
		OpensPerSecond:   c.OpensPerSecond,
		RefuseJoins:      c.RefuseJoins,
		Interfaces:       c.Interfaces,
		BackupInterfaces: c.BackupInterfaces,
		Keep:             c.Keep,
	}
	if p.Keep == 0 {
		p.Keep = -1 // not at all
	}
	return p.WithDefaults(), nil
}
