// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/resolve"
	"github.com/tandem-gateway/tandem/subscribers"
)

// setup is what one configuration asks for. A reload replaces it as a whole.
type setup struct {
	config       *config.Config
	log          *slog.Logger
	ownMark      uint32 // of our own sockets where traffic is intercepted, else 0
	upstreams    map[string]*upstream
	listeners    []*proxy.Listener
	destinations []*policy.Destinations
	limits       policy.LimitsConfig
	resolver     *resolve.Resolver
	registry     *subscribers.Registry // of the gateway; nil until it is put into force
	directory    *subscribers.Directory

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// newSetup builds everything but starts nothing. What before, nil at the start,
// has learnt of upstreams that stay the same is kept.
func newSetup(c *config.Config, log *slog.Logger, before *setup) (*setup, error) {
	s := &setup{config: c, log: log, ownMark: ownMark(c), limits: limits(&c.Limits), upstreams: map[string]*upstream{}}
	s.resolver = s.newResolver(&c.Resolver)
	var err error
	if s.directory, err = directory(&c.Subscribers); err != nil {
		return nil, fmt.Errorf("subscribers: %w", err)
	}
	if err := s.limits.Validate(); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	for i := range c.Upstreams {
		u, err := s.keptUpstream(&c.Upstreams[i], before)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", c.Upstreams[i].Name, err)
		}
		s.upstreams[u.config.Name] = u
	}
	for i := range c.Listeners {
		l, err := s.newListener(&c.Listeners[i])
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", c.Listeners[i].Name, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// start begins what goes on beside the connections: health checks, to keep the
// list of own addresses true, and a check once of what is in force now.
func (s *setup) start(check func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.running.Go(func() { check(ctx) })
	s.running.Go(func() { followAddresses(ctx, s.destinations, s.log) })
	for _, u := range s.upstreams {
		if u.pool != nil {
			s.running.Go(func() { u.pool.Run(ctx) })
		}
	}
}

// stop ends what start began.
func (s *setup) stop() {
	s.cancel()
	s.running.Wait()
}

func limits(c *config.Limits) policy.LimitsConfig {
	return policy.LimitsConfig{
		Total:       c.Connections,
		PerSource:   c.PerSource.Connections,
		Pending:     c.PerSource.Pending,
		Rate:        c.PerSource.NewPerSecond,
		Burst:       c.PerSource.Burst,
		IPv4Bits:    c.PerSource.IPv4Prefix,
		IPv6Bits:    c.PerSource.IPv6Prefix,
		MaxPrefixes: c.Sources,
	}
}

func (s *setup) newResolver(c *config.Resolver) *resolve.Resolver {
	r := resolve.Config{Prefer: resolve.IPv6, Timeout: c.Timeout, Control: s.markSocket()}
	if c.Prefer == config.IPv4 {
		r.Prefer = resolve.IPv4
	}
	for _, server := range c.Servers {
		r.Servers = append(r.Servers, server.AddrPort)
	}
	return resolve.New(r)
}
