// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// endpoint is one address that a listener listens on.
type endpoint struct {
	listener *Listener
	path     string
	addr     netip.AddrPort
}

// clashes finds listeners that want the same port.
func (v *validator) clashes(listeners []Listener) {
	var earlier []endpoint
	for i := range listeners {
		for j, a := range listeners[i].Listen {
			e := endpoint{&listeners[i], fmt.Sprintf("listeners[%d].listen[%d]", i, j), a}
			for _, other := range earlier {
				if e.clashes(other) {
					v.bad(e.path, fmt.Sprintf("%v is taken by %s, %v", a, other.path, other.addr), "want another address or port")
					break
				}
			}
			earlier = append(earlier, e)
		}
	}
}

// clashes reports whether the kernel would refuse the second of two sockets
// (inet_csk_bind_conflict).
func (e endpoint) clashes(o endpoint) bool {
	if e.addr.Port() == 0 || e.addr.Port() != o.addr.Port() {
		return false
	}
	if a, b := e.listener.Socket.Device, o.listener.Socket.Device; a != "" && b != "" && a != b {
		return false
	}
	return e.covers(o.addr.Addr()) || o.covers(e.addr.Addr())
}

// covers reports whether connections to an address come to the endpoint, if
// they come to its port.
func (e endpoint) covers(to netip.Addr) bool {
	own, to := e.addr.Addr().Unmap(), to.Unmap()
	switch own {
	case netip.IPv4Unspecified():
		return to.Is4()
	case netip.IPv6Unspecified():
		return to.Is6() || to.Is4() && !e.listener.IPv6Only
	}
	return own.IsValid() && own == to
}

// interceptors checks that traffic is intercepted for one listener only.
func (v *validator) interceptors(listeners []Listener) {
	first := map[ListenerType]int{}
	for i, l := range listeners {
		if !l.Type.Intercepts() {
			continue
		}
		if j, again := first[l.Type]; again {
			v.bad(fmt.Sprintf("listeners[%d].type", i), fmt.Sprintf("listeners[%d] is of type %s too", j, l.Type), "want one listener for all traffic that is intercepted this way")
			continue
		}
		first[l.Type] = i
	}
}

// marks finds upstreams whose connections would be intercepted: Tandem knows its
// own traffic by its own mark, and that of the servers of upstreams by their
// addresses.
func (v *validator) marks(c *Config) {
	own := func(l Listener) bool { return l.Type == ListenRedirect }
	if !slices.ContainsFunc(c.Listeners, own) {
		return
	}
	for i, u := range c.Upstreams {
		anywhere := u.Type == UpstreamDirect || u.WhenDown == GoDirect || u.Convert != nil && u.Convert.BypassMPTCPServers
		if u.Socket.Mark != 0 && anywhere {
			v.bad(fmt.Sprintf("upstreams[%d].socket.mark", i), "would have a listener of type redirect intercept Tandem's own connections", "want no mark, so that Tandem sets its own")
		}
	}
}

// loops finds listeners whose connections come back to them.
func (v *validator) loops(c *Config) {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if c.leadsTo(l, l, map[*Listener]bool{}) {
			path := fmt.Sprintf("listeners[%d].upstream", i)
			v.bad(path, fmt.Sprintf("connections come back to listener %q", l.Name), "want a way that leaves this machine")
		}
	}
}

// leadsTo reports whether connections of a listener come to another.
func (c *Config) leadsTo(from, to *Listener, seen map[*Listener]bool) bool {
	seen[from] = true
	for i := range c.Listeners {
		next := &c.Listeners[i]
		if !slices.ContainsFunc(c.nextHops(from), next.covers) {
			continue
		}
		if next == to || !seen[next] && c.leadsTo(next, to, seen) {
			return true
		}
	}
	return false
}

// nextHops are the fixed addresses that connections of a listener go to.
func (c *Config) nextHops(l *Listener) []netip.AddrPort {
	u := c.upstream(l.Upstream)
	switch {
	case u == nil:
		return nil
	case u.Type != UpstreamDirect:
		return u.Servers
	case l.Forward != nil && l.Forward.Target.Addr.IsValid():
		return []netip.AddrPort{netip.AddrPortFrom(l.Forward.Target.Addr, l.Forward.Target.Port)}
	}
	return nil
}

// covers reports whether connections to an address certainly come to the
// listener. Of the machine's own addresses, which a wildcard stands for, only
// loopback is known.
func (l *Listener) covers(a netip.AddrPort) bool {
	return slices.ContainsFunc(l.Listen, func(own netip.AddrPort) bool {
		e := endpoint{listener: l, addr: own}
		known := !own.Addr().IsUnspecified() || a.Addr().IsLoopback()
		return own.Port() == a.Port() && a.Port() != 0 && known && e.covers(a.Addr())
	})
}

// unused warns of upstreams that no listener leads to.
func (v *validator) unused(c *Config) {
	for i, u := range c.Upstreams {
		used := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Upstream == u.Name })
		if !used && u.Name != DirectUpstream && u.Name != "" {
			v.warn(fmt.Sprintf("upstreams[%d]", i), fmt.Sprintf("no listener uses %q", u.Name), "want its name as the upstream of one")
		}
	}
}
