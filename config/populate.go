// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
)

// populate fills in what follows from what was given.
func (c *Config) populate() {
	for i := range c.Listeners {
		c.Listeners[i].populate()
	}
	// The upstream that is always there is listed where it is used.
	used := func(l Listener) bool { return l.Upstream == DirectUpstream }
	if slices.ContainsFunc(c.Listeners, used) && c.upstream(DirectUpstream) == nil {
		c.Upstreams = append(c.Upstreams, direct())
	}
}

func (c *Config) upstream(name string) *Upstream {
	for i := range c.Upstreams {
		if c.Upstreams[i].Name == name {
			return &c.Upstreams[i]
		}
	}
	return nil
}

func (l *Listener) populate() {
	if l.AllowFrom == nil {
		switch {
		case l.TProxy != nil && len(l.TProxy.Sources) > 0:
			l.AllowFrom = l.TProxy.Sources
		case l.Type.Intercepts():
			l.AllowFrom = everybody()
		case l.loopback():
			l.AllowFrom = selfOnly()
		}
	}
	// An IPv6 socket takes the port on IPv4 too, unless it is told not to.
	for _, a := range l.Listen {
		if a.Addr() == netip.IPv6Unspecified() && slices.ContainsFunc(l.Listen, func(b netip.AddrPort) bool {
			return b.Addr().Unmap().Is4() && b.Port() == a.Port()
		}) {
			l.IPv6Only = true
		}
	}
}

// loopback reports whether only the machine itself can reach the listener.
func (l *Listener) loopback() bool {
	return len(l.Listen) > 0 && !slices.ContainsFunc(l.Listen, func(a netip.AddrPort) bool {
		return !a.Addr().Unmap().IsLoopback()
	})
}
