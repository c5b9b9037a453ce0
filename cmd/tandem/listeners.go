// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/tproxy"
)

// newListener builds what serves a configured listener.
func (s *setup) newListener(c *config.Listener) (*proxy.Listener, error) {
	destinations, err := s.destinationsOf(c)
	if err != nil {
		return nil, err
	}
	front, err := s.frontEnd(c)
	if err != nil {
		return nil, err
	}
	clientPaths, err := pathPolicy(&c.Paths)
	if err != nil {
		return nil, err
	}
	l := &proxy.Listener{
		Name:         c.Name,
		Addresses:    c.Listen,
		Socket:       listenOptions(c, s.ownMark),
		Require:      c.MPTCP == mptcp.ModeRequire,
		FrontEnd:     front,
		Upstream:     s.upstreams[c.Upstream].Upstream,
		Sources:      policy.NewSources(c.AllowFrom),
		Destinations: destinations,
		Timeouts: proxy.Timeouts{
			Handshake: c.Timeouts.Handshake,
			Connect:   c.Timeouts.Connect,
			Relay:     relay.Timeouts{Idle: c.Timeouts.Idle, HalfClosed: c.Timeouts.HalfClosed},
		},
		Options:       c.Options.Policy(),
		ClientPaths:   clientPaths,
		ServerPaths:   s.upstreams[c.Upstream].paths,
		FirstDataWait: s.firstData(c),
	}
	if c.SOCKS5 != nil {
		l.Timeouts.Bind, l.Timeouts.Associate = c.SOCKS5.BindTimeout, c.SOCKS5.UDPIdle
	}
	return l, nil
}

// listenOptions are those of a listener's sockets.
func listenOptions(c *config.Listener, ownMark uint32) mptcp.ListenOptions {
	o := mptcp.ListenOptions{
		Mode:     c.MPTCP,
		FastOpen: c.FastOpen,
		Backlog:  c.Backlog,
		Socket:   socketOptions(&c.Socket, ownMark),
	}
	o.Socket.Transparent = c.Type == config.ListenTProxy
	if c.IPv6Only {
		o.Socket.V6Only = mptcp.V6OnlyYes
	}
	return o
}

// howToListen adds what mends it to an error of a socket that was to listen.
func howToListen(err error) error {
	for _, known := range []struct {
		err error
		how string
	}{
		{unix.EADDRINUSE, "another program listens there: ss -ltnp tells which"},
		{unix.EADDRNOTAVAIL, "this machine does not have the address: ip address lists those that it has"},
		{unix.EACCES, "ports below 1024 need CAP_NET_BIND_SERVICE: run as root, or grant it with AmbientCapabilities= of systemd or setcap"},
	} {
		if errors.Is(err, known.err) {
			return fmt.Errorf("%w; %s", err, known.how)
		}
	}
	return err
}

// firstData is how long clients that speak no protocol with us are waited for.
// It is of use only where their first bytes can travel with the request.
func (s *setup) firstData(c *config.Listener) (wait time.Duration) {
	if c.Type.Intercepts() || c.Type == config.ListenForward {
		if u := s.upstreams[c.Upstream].config; u.Type != config.UpstreamDirect && u.FastOpen {
			return c.Timeouts.FirstData
		}
	}
	return 0
}

func (s *setup) destinationsOf(c *config.Listener) (*policy.Destinations, error) {
	if c.Type == config.ListenForward {
		return nil, nil // the operator has chosen the one there is
	}
	d, err := policy.NewDestinations(policy.DestinationsConfig{
		Allow:        c.Destinations.Allow,
		Deny:         c.Destinations.Deny,
		Only:         c.Destinations.Only,
		AllowPrivate: c.Destinations.AllowPrivate,
	})
	if err != nil {
		return nil, fmt.Errorf("destinations: %w", err)
	}
	s.destinations = append(s.destinations, d)
	return d, nil
}

func (s *setup) frontEnd(c *config.Listener) (proxy.FrontEnd, error) {
	switch c.Type {
	case config.ListenSOCKS5:
		return s.socksFront(c)
	case config.ListenConvert:
		return s.convertFront(c)
	case config.ListenTProxy:
		return &proxy.Intercept{Destination: tproxy.Destination}, nil
	case config.ListenRedirect:
		return &proxy.Intercept{Destination: tproxy.OriginalDestination}, nil
	case config.ListenForward:
		t := c.Forward.Target
		return proxy.NewForward(proxy.Request{Host: t.Host, Target: netip.AddrPortFrom(t.Addr, t.Port)}), nil
	}
	return nil, fmt.Errorf("type %q is not known", c.Type)
}
