// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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

// pathManagers watches the subflows of connections, and manages them once
// something is configured to be managed. Until then, and where that is not
// possible, the path manager of the kernel does.
type pathManagers struct {
	server  *proxy.Server
	engine  atomic.Pointer[paths.Engine] // nil without rights
	manages atomic.Bool
	failed  bool
}

// Adopt implements proxy.Paths.
func (p *pathManagers) Adopt(token uint32, policy paths.Policy, initiator bool) {
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

// start begins to watch if nothing did so far, which it reports, and to manage
// if a configuration wants that. Where that is not possible, it says so once.
func (p *pathManagers) start(c *config.Config, programs *bpf.Programs, log *slog.Logger) bool {
	wanted, keep := managed(c)
	if e := p.engine.Load(); e != nil {
		if wanted && !p.manages.Load() {
			p.result(e.Manage(), wanted, log)
		}
		return false
	}
	if p.failed {
		return false
	}
	state := pathState()
	if err := os.MkdirAll(stateDirectory, 0o755); err != nil {
		log.Warn("a killed tandem would leave its settings of MPTCP behind", "err", err)
		state = ""
	}
	o := paths.Options{
		Observe: !wanted,
		State:   state,
		Keep:    keep,
		Log:     log,
		Expired: func(token uint32, last paths.Cause) {
			log.Debug("connection was without subflows for too long", "token", token, "last", last.String())
			p.server.Abandon(token)
		},
	}
	if programs != nil {
		o.Events = programs.Events()
	}
	e, err := paths.New(o)
	p.result(err, wanted, log)
	if err != nil {
		return false
	}
	p.engine.Store(e)
	return true
}

// result is what has become of a wish to manage.
func (p *pathManagers) result(err error, wanted bool, log *slog.Logger) {
	switch {
	case err == nil:
		p.manages.Store(wanted)
	case wanted && !p.failed:
		p.failed = true
		log.Warn("subflows are left to the path manager of the kernel", "err", err)
	case !wanted:
		log.Debug("nobody watches subflows", "err", err)
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
	p.manages.Store(false)
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
	return p, nil
}
