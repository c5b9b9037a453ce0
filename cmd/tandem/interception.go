// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/tproxy"
)

// defaultOwnMark is on our own sockets where traffic is intercepted, so that
// ours is not: "td" in ASCII.
const defaultOwnMark = 0x7464

// interception is what is intercepted for the listeners, and brought back for
// servers that see addresses of clients.
type interception struct {
	*tproxy.Interceptor // nil: nothing
	log                 *slog.Logger
	// succeeds is the table of a predecessor, which lives on for a moment; empty
	// if there is none.
	succeeds string
}

// table is the name of the table of rules.
func (i *interception) table() string {
	if i.succeeds == tables[0] {
		return tables[1]
	}
	return tables[0]
}

// apply replaces what is intercepted. On an error nothing has changed.
func (i *interception) apply(c tproxy.Config) error {
	var err error
	c.Name = i.table()
	switch {
	case !interceptsAnything(&c):
		i.remove()
	case i.Interceptor == nil:
		i.Interceptor, err = tproxy.Install(c)
	default:
		err = i.Update(c)
	}
	return err
}

// remove ends the interception.
func (i *interception) remove() {
	if i.Interceptor == nil {
		return
	}
	if err := i.Close(); err != nil {
		i.log.Error("cannot remove the rules of interception", "err", err)
	}
	i.Interceptor = nil
}

// drain lets new connections go where they go without Tandem; those that are
// intercepted go on.
func (i *interception) drain() error {
	if i.Interceptor == nil {
		return nil
	}
	return i.Drain()
}

func interceptsAnything(c *tproxy.Config) bool {
	return len(c.Forwarded.To) > 0 || len(c.Own.To) > 0 || c.KeepClientAddresses
}

// intercepts reports whether there will be something to intercept or to bring
// back.
func (s *setup) intercepts() bool {
	return s.ownMark != 0 || s.intercepted(nil).KeepClientAddresses
}

// intercepted is what a setup whose listeners are bound wants intercepted.
func (s *setup) intercepted(bound []proxy.Bound) tproxy.Config {
	c := tproxy.Config{OwnMark: s.ownMark}
	for _, u := range s.upstreams {
		if u.config.Type == config.UpstreamDirect && u.config.Direct.Source == config.SourceClient {
			c.KeepClientAddresses = true
		}
		for _, server := range u.config.Servers {
			c.Upstreams = append(c.Upstreams, server.Addr())
		}
	}
	for i := range s.config.Listeners {
		l := &s.config.Listeners[i]
		switch l.Type {
		case config.ListenTProxy:
			c.Forwarded = tproxy.Forwarded{
				Capture:    capture(bound, l, l.TProxy.Ports, &l.TProxy.Exclude, l.TProxy.RejectQUIC),
				Interfaces: l.TProxy.Interfaces,
				Sources:    l.TProxy.Sources,
			}
			c.Mark, c.Mask, c.Table, c.Priority = l.TProxy.Mark, l.TProxy.Mask, l.TProxy.Table, l.TProxy.Priority
		case config.ListenRedirect:
			c.Own = tproxy.Own{Capture: capture(bound, l, l.Redirect.Ports, &l.Redirect.Exclude, l.Redirect.RejectQUIC)}
		}
	}
	return c
}

func capture(bound []proxy.Bound, l *config.Listener, ports []policy.PortRange, exclude *config.Exclude, rejectQUIC bool) tproxy.Capture {
	c := tproxy.Capture{Ports: ports, RejectQUIC: rejectQUIC, Exclude: tproxy.Exclude{
		Private:      exclude.Private,
		Destinations: exclude.Destinations,
		Ports:        exclude.Ports,
	}}
	for _, d := range exclude.DSCP {
		c.Exclude.DSCP = append(c.Exclude.DSCP, uint8(d))
	}
	for _, m := range exclude.MACs {
		c.Exclude.MACs = append(c.Exclude.MACs, tproxy.MAC(m))
	}
	for _, b := range bound {
		if b.Name == l.Name {
			c.To = append(c.To, b.Address)
		}
	}
	return c
}

// ownMark is the mark of sockets that have no other, 0 where none is needed.
func ownMark(c *config.Config) uint32 {
	for i := range c.Listeners {
		if c.Listeners[i].Type.Intercepts() {
			return defaultOwnMark
		}
	}
	return 0
}

// markSocket returns what marks a socket of package net as ours, nil where that
// is not needed.
func (s *setup) markSocket() func(network, address string, c syscall.RawConn) error {
	if s.ownMark == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(s.ownMark))
		})
		if err != nil {
			return err
		}
		return failure
	}
}
