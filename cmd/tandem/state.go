// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"iter"
	"os"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
)

// Status implements admin.Gateway.
func (g operated) Status() admin.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	stats := g.server.Stats()
	s := admin.Status{
		Version: version,
		State:   admin.Running,
		PID:     os.Getpid(),
		Started: g.started,
		Uptime:  time.Since(g.started).Seconds(),
		Kernel: admin.Kernel{
			Release:   kernelRelease(),
			MPTCP:     admin.Feature{OK: g.machine.mptcp == nil, Detail: g.machine.describeMPTCP()},
			FastOpen:  admin.Feature{OK: g.machine.fastOpen&fastOpenBoth == fastOpenBoth, Detail: g.machine.describeFastOpen()},
			EBPF:      admin.Feature{OK: g.noEBPF == nil, Detail: g.describeEBPF()},
			OpenFiles: g.machine.files,
		},
		Connections: counted(&stats),
		Networks:    networkTotals(stats.Networks),
		Subscribers: g.subscriberCounters(),
		Paths:       g.paths.counters(),
	}
	s.Options, s.OptionsIgnored = optionCounters(&stats.Options), g.tuner.ignored()
	if n := g.heldJoins(); n != nil {
		s.HeldJoins = &admin.HeldJoins{Held: n.Held, GivenUp: n.GivenUp}
	}
	if g.ending {
		s.State = admin.Draining
	}
	for _, b := range g.bound {
		l := g.listener(b.Name)
		bound := admin.Listener{
			Name: b.Name, Type: string(l.Type), Address: b.Address, MPTCP: b.MPTCP, Upstream: g.describeUpstream(l),
		}
		if !b.MPTCP {
			bound.Reason = b.Reason.String()
		}
		s.Listeners = append(s.Listeners, bound)
	}
	for i := range g.current.config.Upstreams {
		u := g.current.upstreams[g.current.config.Upstreams[i].Name]
		way := admin.Upstream{Name: u.config.Name, Type: string(u.config.Type)}
		if u.pool != nil {
			for _, h := range u.pool.Status() {
				way.Hops = append(way.Hops, hop(h))
			}
		}
		s.Upstreams = append(s.Upstreams, way)
	}
	return s
}

func hop(h proxy.HopStatus) admin.Hop {
	out := admin.Hop{Name: h.Name, Up: h.Up, Since: h.Since, Failures: h.Failures, Took: h.Took.Seconds()}
	if !h.Checked.IsZero() {
		out.Checked = &h.Checked
	}
	if h.Err != nil {
		out.Error = h.Err.Error()
	}
	return out
}

func counted(s *proxy.Stats) admin.Counters {
	return admin.Counters{
		Accepted: s.Accepted, Active: s.Active, Relayed: s.Relayed, ClientMPTCP: s.ClientMPTCP,
		Refused: s.Refused, Fallbacks: s.Fallback, Up: s.Up, Down: s.Down,
	}
}

func optionCounters(s *proxy.OptionStats) (all []admin.OptionCounter) {
	for name, reasons := range s.All() {
		c := admin.OptionCounter{Option: name, Outcomes: map[string]uint64{}}
		for why, n := range reasons {
			c.Asked += n
			c.Outcomes[why.String()] = n
		}
		all = append(all, c)
	}
	return all
}

// Connections implements admin.Gateway.
func (g operated) Connections() iter.Seq[*admin.Connection] {
	return func(yield func(*admin.Connection) bool) {
		for l := range g.server.Live() {
			c := connection(l)
			if !yield(&c) {
				return
			}
		}
	}
}

func connection(l *proxy.Live) admin.Connection {
	c := admin.Connection{
		ID: l.ID, Phase: l.Phase, Listener: l.Listener, User: l.User, Host: l.Host, Hop: l.Hop,
		Client:  leg(l.ClientMPTCP),
		Started: l.Start, Age: l.Age.Seconds(), Up: l.Up, Down: l.Down,
	}
	c.Client.Address = l.Client
	if l.Account != nil {
		c.Policy = cmp.Or(l.Account.PolicyName(), defaultPolicy)
	}
	if l.Server.IsValid() {
		server := leg(l.ServerMPTCP)
		server.Address = l.Server
		c.Server = &server
	}
	if l.Relaying {
		idle := l.Idle.Seconds()
		c.Idle = &idle
	}
	c.Options = admin.OptionsOf(l.Options)
	if h := l.HopChoice; h != nil {
		c.AskedOfHop = &admin.HopOptions{By: h.By.String(), Asked: h.Asked.Texts(), Answered: h.Answered, Granted: h.Granted.Texts()}
	}
	return c
}

func leg(s mptcp.Status) admin.Leg {
	l := admin.Leg{MPTCP: s.MPTCP, Token: admin.Token(s.Token)}
	if !s.MPTCP && s.Reason != mptcp.None {
		l.Reason = s.Reason.String()
	}
	return l
}
