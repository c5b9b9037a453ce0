// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"

	"github.com/tandem-gateway/tandem/plural"
	"github.com/tandem-gateway/tandem/systemd"
)

// supervision is what the service manager is told. Without one it does nothing.
type supervision struct {
	running sync.WaitGroup

	mu     sync.Mutex // of what follows
	ended  bool
	cancel context.CancelFunc
}

// begin says that g serves, and gives signs of life until end.
func (s *supervision) begin(g *gateway) {
	if !systemd.Supervised() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return // an operator was faster
	}
	s.check(g, systemd.Ready(g.statusLine()))
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.running.Go(func() {
		err := systemd.Watch(ctx, systemd.Watched{Alive: g.server.Alive, Status: g.statusLine, Log: g.log})
		if err != nil {
			g.log.Error("the service manager gets no signs of life", "err", err)
		}
	})
}

// end ends the signs of life. It may be called twice.
func (s *supervision) end() {
	s.mu.Lock()
	s.ended = true
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// reload says that something is put into force, and how that went.
func (s *supervision) reload(g *gateway, reload func() error) error {
	s.check(g, systemd.Reloading())
	err := reload()
	status := g.statusLine()
	if err != nil {
		status = "The configuration from before is in force, the new one has mistakes. " + status
	}
	s.check(g, systemd.Ready(status))
	return err
}

// succeed says that a successor is the main process. This one says nothing more.
func (s *supervision) succeed(g *gateway, pid int) {
	s.end()
	s.check(g, systemd.MainPID(pid))
}

// stopping says that the end has come. Signs of life go on meanwhile.
func (s *supervision) stopping(g *gateway) {
	s.check(g, systemd.Stopping("Draining "+plural.Of(g.server.Stats().Active, "connection")))
}

func (s *supervision) check(g *gateway, err error) {
	if err != nil {
		g.log.Warn("the service manager cannot be told", "err", err)
	}
}

// statusLine says what g does.
func (g *gateway) statusLine() string {
	what := "Serving"
	if g.isEnding() {
		what = "Draining"
	}
	return what + " " + plural.Of(g.server.Stats().Active, "connection")
}
