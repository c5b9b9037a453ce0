// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/handover"
	"github.com/tandem-gateway/tandem/plural"
	"github.com/tandem-gateway/tandem/radius"
	"github.com/tandem-gateway/tandem/systemd"
)

// upgradePatience is how long a successor may take to serve.
const upgradePatience = 30 * time.Second

var errTooSlow = errors.New("it took too long")

func upgradeCommand() *cobra.Command {
	return operator(&cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running tandem by the program as it is installed now",
		Long: `Has the running tandem start the program that is installed now, with the same
arguments, and give it all sockets. When that serves, the old one accepts no
more, and ends when its connections have ended (upgrade-drain-timeout). If it
cannot serve, nothing changes and the exit code is 1; why is in the log. SIGUSR2
does the same.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, client *admin.Client, _ []string) error {
		done, err := client.Upgrade(cmd.Context())
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "upgraded: process %d serves, process %d keeps %s\n", done.PID, done.Draining, plural.Of(done.Active, "connection"))
		}
		return err
	})
}

// ownCommand is how this process was started. The path is what it was called
// by, not what that was a link to.
func ownCommand() []string {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, _ = os.Executable() // also an error of its own when it is used
	}
	return append([]string{path}, os.Args[1:]...)
}

// upgrade starts a successor and lets go of everything but the connections. On
// an error nothing has changed.
func (g *gateway) upgrade() (pid int, err error) {
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.isEnding() {
		return 0, admin.ErrDraining
	}
	ctx, cancel := context.WithTimeoutCause(g.serving, upgradePatience, errTooSlow)
	defer cancel()
	var fds []int
	left := g.estate()
	ours, theirs, err := radius.Pair()
	if err != nil {
		return 0, err
	}
	defer theirs.Close()
	left.Elders = append(left.Elders, descriptor(theirs))
	_ = left.descriptors(func(fd int) (int, error) { // cannot fail
		fds = append(fds, fd)
		return len(fds) - 1, nil
	})
	successor, err := handover.Start(ctx, handover.Options{
		Command: g.command, FDs: fds, State: left,
		Drop: systemd.PIDVariables, Sibling: systemd.Supervised(),
	})
	if err != nil {
		g.log.Error("not upgraded; this process stays in charge", "err", err)
		ours.Close()
		return 0, err
	}
	g.mu.Lock()
	g.ending, g.successor = true, successor.PID
	g.mu.Unlock()
	g.leave(ours)
	g.manager.succeed(g, successor.PID) // which says nothing itself before Leave
	if err := successor.Leave(); err != nil {
		g.log.Error("the successor has ended", "pid", successor.PID, "err", err)
	}
	g.log.Info("upgraded", "successor", successor.PID, "connections", g.server.Stats().Active)
	return successor.PID, nil
}

// leave lets go of what a successor has. Requests about sessions that only this
// process has come from it.
func (g *gateway) leave(successor *net.UnixConn) {
	report := func(what string, err error) {
		if err != nil {
			g.log.Error("cannot let go of "+what, "err", err)
		}
	}
	_, err := g.server.Apply(nil)
	report("listeners", err)
	g.rules.remove()
	report("path management", g.paths.leave())
	if g.programs != nil {
		g.programs.Leave()
	}
	g.aaa.leave(successor)
	g.observers.telemetry.Load().Leave()
	g.admin.leave()
}

// succeed serves operators, and takes over what the predecessor lets go of.
// Nobody changes anything before that is done.
func (g *gateway) succeed(p *handover.Predecessor) {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.admin.serve(g)
	if err := p.Ready(); err != nil {
		g.log.Warn("in charge, and the predecessor's connections may be lost", "err", err)
	}
	if err := g.paths.claim(); err != nil {
		g.log.Error("cannot take over path management", "err", err)
	}
	g.admin.claim(g)
}

// claim opens the addresses that a predecessor has closed and not left.
func (o *operators) claim(g *gateway) {
	o.remote.claim(g.log)
	if o.server == nil {
		o.serve(g)
		return
	}
	o.remote.serve(o.server, &o.serving, g.log)
}

func (p *pathManagers) leave() error {
	if e := p.engine.Load(); e != nil {
		return e.Leave()
	}
	return nil
}

func (p *pathManagers) claim() error {
	if e := p.engine.Load(); e != nil {
		return e.Claim()
	}
	return nil
}

// leave leaves new operators to a successor; requests under way go on.
func (o *operators) leave() {
	for _, l := range o.remote.listeners {
		_ = l.Close()
	}
	if o.socket != nil {
		o.socket.Leave()
		_ = o.socket.Close()
	}
	if o.server != nil {
		o.server.Leave()
	}
}

func (g *gateway) isEnding() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ending
}

// upgradeTimeout is how long connections may stay with a process that has a
// successor.
func (g *gateway) upgradeTimeout() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current.config.UpgradeDrainTimeout
}

// succeededBy is the successor's process, 0 if there is none.
func (g *gateway) succeededBy() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.successor
}

// forward hands a signal to the successor.
func (g *gateway) forward(s syscall.Signal) {
	if pid := g.succeededBy(); pid != 0 {
		_ = syscall.Kill(pid, s) // it may have ended
	}
}

// Upgrade implements admin.Gateway.
func (g operated) Upgrade() (admin.Upgraded, error) {
	pid, err := g.upgrade()
	if err != nil {
		return admin.Upgraded{}, err
	}
	select {
	case g.admin.drains <- g.upgradeTimeout():
	default: // another request to end was faster
	}
	return admin.Upgraded{PID: pid, Draining: os.Getpid(), Active: g.server.Stats().Active}, nil
}
