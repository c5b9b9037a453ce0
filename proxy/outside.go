// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// serveOutside serves the requests that need sockets other than one connection
// to a server. They are those of this host: peers and datagrams reach the
// client on one path, through no converter.
func (s *session) serveOutside() {
	var direct Hop
	for _, h := range s.listener.Upstream.Hops(s.opening.request) {
		if h.Addresses() == nil {
			direct = h
			break
		}
	}
	if direct == nil {
		s.fail(fmt.Errorf("%w: there is no direct way to servers", socks.ErrCommand))
		return
	}
	local, err := mptcp.LocalAddr(s.opening.client.FD)
	if err != nil {
		s.fail(err)
		return
	}
	s.hop, s.phase = direct.Name(), outside
	s.deadline(0)
	if s.opening.request.Command == Bind {
		s.bind(direct, local.Addr())
	} else {
		s.associate(direct, local.Addr())
	}
}

// allow is what policy has to say of a peer.
func (s *session) allow() func(netip.AddrPort) error {
	if s.listener.Destinations == nil && s.account == nil {
		return nil
	}
	return s.check
}

// bind waits for the peer that the client expects (RFC 1928 section 4) and
// tells the client twice: where it is waited for, and who came.
func (s *session) bind(hop Hop, local netip.Addr) {
	o := s.opening
	target := o.request.Target
	expects := o.request.Host != "" || target.Addr().IsValid() && !target.Addr().IsUnspecified()
	if allow := s.allow(); allow != nil && expects && o.request.Host == "" {
		if err := allow(target); err != nil {
			s.fail(err)
			return
		}
	}
	towards := target
	if !expects || o.request.Host != "" {
		towards = netip.AddrPortFrom(local, target.Port())
	}
	options := hop.Options(&o.client, o.request, towards)
	c := socks.BindConfig{
		Peer: target.Addr(), Host: o.request.Host,
		Resolve: s.worker.server.names.Load().Lookup,
		Allow:   s.allow(),
		Timeout: cmp.Or(s.listener.Timeouts.Bind, s.listener.Timeouts.Connect),
		MPTCP:   options.Mode != mptcp.ModeOff,
		Control: control(options.Socket),
	}
	switch {
	case options.Local.IsValid() && !options.Socket.Transparent:
		c.Local = options.Local.Addr()
	case !expects:
		c.Local = local
	}
	s.spawn(func(ctx context.Context, post func(func(bool))) {
		b, err := socks.StartBinding(ctx, c)
		if err != nil {
			post(func(wanted bool) {
				if wanted {
					s.fail(err)
				}
			})
			return
		}
		post(func(wanted bool) {
			if wanted {
				s.reply(Outcome{Bound: b.Addr()})
			}
		})
		fd, peer, err := b.Accept(ctx)
		post(func(wanted bool) {
			switch {
			case !wanted && err == nil:
				mptcp.CloseReset(fd)
			case wanted:
				s.bound(fd, peer, err)
			}
		})
	})
}

// keepLocal notes the address that the server or hop sees, if records are to
// tell.
func (s *session) keepLocal() {
	if !s.worker.server.local.Load() {
		return
	}
	if s.local == nil {
		s.local = s.worker.lendLocal()
	}
	s.local[0], _ = mptcp.LocalAddr(s.pair.Ends[relay.Server].FD) // an error is one of the connection: see there
}

// bound goes on once the peer has come, or will not.
func (s *session) bound(fd int, peer netip.AddrPort, err error) {
	if err != nil {
		s.fail(err)
		return
	}
	server := &s.pair.Ends[relay.Server]
	server.FD, s.server = fd, peer
	s.serverMPTCP, _ = mptcp.Negotiated(fd)
	s.keepLocal()
	if err := s.worker.loop.Register(server, s); err != nil {
		s.fail(err)
		return
	}
	if s.reply(Outcome{FD: fd, Bound: peer, Second: true}) {
		s.relay(s.opening.in, nil)
	}
}

// associate relays the client's datagrams (RFC 1928 section 7) for as long as
// its connection stands.
func (s *session) associate(hop Hop, local netip.Addr) {
	o := s.opening
	v4 := hop.Options(&o.client, o.request, netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	v6 := hop.Options(&o.client, o.request, netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	options := v4.Socket
	options.Transparent = v4.Socket.Transparent || v6.Socket.Transparent
	options.FreeBind = v4.Socket.FreeBind || v6.Socket.FreeBind
	c := socks.AssociateConfig{
		Listen: local, Client: o.request.Target, Peer: o.client.Remote.Addr(),
		Resolve: s.worker.server.names.Load().Lookup,
		Allow:   s.allow(),
		Idle:    cmp.Or(s.listener.Timeouts.Associate, s.listener.Timeouts.Relay.Idle),
		Source4: v4.Local.Addr(), Source6: v6.Local.Addr(),
		KeepSources: s.worker.server.local.Load(),
		Control:     control(options),
	}
	if s.account != nil {
		c.Meter = s.account
	}
	s.spawn(func(ctx context.Context, post func(func(bool))) {
		a, err := socks.StartAssociation(ctx, c)
		post(func(wanted bool) {
			switch {
			case !wanted:
			case err != nil:
				s.fail(err)
			default:
				o.association = a
				s.serve()
				s.reply(Outcome{Bound: a.Addr()})
			}
		})
		if err != nil {
			return
		}
		<-a.Done()
		post(func(wanted bool) {
			if !wanted {
				return
			}
			err := a.Err()
			if s.pair.Ends[relay.Client].Hangup {
				err = nil // it ended as it should, by the client's leave
			}
			s.end(err, false)
		})
	})
}

// control sets those socket options that are not TCP's own on a socket of
// package net, whose family is the last digit of the network.
func control(o mptcp.SocketOptions) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) { failure = setOptions(int(fd), network[len(network)-1] == '6', &o) })
		if err != nil {
			return err
		}
		return failure
	}
}

func setOptions(fd int, v6 bool, o *mptcp.SocketOptions) error {
	level, transparent, freeBind := unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_FREEBIND
	if v6 {
		level, transparent, freeBind = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_FREEBIND
	}
	for _, set := range []struct {
		name          string
		wanted        bool
		level, option int
		value         int
	}{
		{"SO_MARK", o.Mark != 0, unix.SOL_SOCKET, unix.SO_MARK, int(o.Mark)},
		{"IP_TRANSPARENT", o.Transparent, level, transparent, 1},
		{"IP_FREEBIND", o.FreeBind, level, freeBind, 1},
	} {
		if !set.wanted {
			continue
		}
		if err := unix.SetsockoptInt(fd, set.level, set.option, set.value); err != nil {
			return fmt.Errorf("set %s: %w", set.name, err)
		}
	}
	if o.Device == "" {
		return nil
	}
	if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, o.Device); err != nil {
		return fmt.Errorf("bind to device %s: %w", o.Device, err)
	}
	return nil
}
