// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// BindConfig says how to serve BIND: RFC 1928 section 4.
type BindConfig struct {
	// Local is the address to listen on. When it is not valid it is the one
	// that the kernel would use towards the expected peer.
	Local netip.Addr
	// Peer is who is expected to connect, from any port. Anybody
	// may when it is unspecified and there is no Host.
	Peer netip.Addr
	// Host is the name of the expected peer, instead of Peer. Any of its
	// addresses may connect.
	Host string
	// Resolve looks Host up. Without it a Host is refused with
	// ErrAddressType.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Allow says whether a peer may connect; nil: all.
	Allow func(netip.AddrPort) error
	// Timeout bounds the wait for the peer, from StartBinding on; 0: only
	// the context of Accept does.
	Timeout time.Duration
	// MPTCP lets the peer use MPTCP.
	MPTCP bool
	// Control, when set, is called for the listening socket before it is
	// bound: see net.ListenConfig.
	Control func(network, address string, c syscall.RawConn) error
}

// Binding is a socket that waits for one connection.
type Binding struct {
	listener *net.TCPListener
	expected []netip.Addr // empty: anybody
	allow    func(netip.AddrPort) error
	deadline time.Time
	close    sync.Once
}

// StartBinding resolves the expected peer and listens for it. The binding is to
// be closed, or used up by Accept.
func StartBinding(ctx context.Context, c BindConfig) (*Binding, error) {
	b := &Binding{allow: c.Allow}
	if c.Timeout > 0 {
		b.deadline = time.Now().Add(c.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, b.deadline)
		defer cancel()
	}
	switch {
	case c.Host != "" && c.Resolve == nil:
		return nil, fmt.Errorf("%w: a name in %s", ErrAddressType, Bind)
	case c.Host != "":
		addrs, err := c.Resolve(ctx, c.Host)
		if err != nil {
			return nil, fmt.Errorf("socks: expected peer: %w", err)
		}
		if len(addrs) == 0 {
			return nil, fmt.Errorf("%w: no addresses of the expected peer %q", ErrName, c.Host)
		}
		b.expected = addrs
	case c.Peer.IsValid() && !c.Peer.IsUnspecified():
		b.expected = []netip.Addr{c.Peer.Unmap()}
	}
	local := c.Local
	if !local.IsValid() {
		var err error
		if local, err = localTowards(b.expected); err != nil {
			return nil, fmt.Errorf("socks: address to listen on: %w", err)
		}
	}
	lc := net.ListenConfig{Control: c.Control, KeepAlive: -1}
	lc.SetMultipathTCP(c.MPTCP)
	l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, fmt.Errorf("socks: listen for the peer: %w", err)
	}
	b.listener = l.(*net.TCPListener)
	return b, nil
}

// localTowards returns the address that the kernel uses towards the first of
// some hosts that it has a route to. Connecting a datagram socket sends
// nothing.
func localTowards(hosts []netip.Addr) (netip.Addr, error) {
	err := fmt.Errorf("%w: no local address and no peer", ErrTarget)
	for _, h := range hosts {
		const discard = 9 // any port but 0 will do
		var c *net.UDPConn
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(h, discard)))
		if err != nil {
			continue
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), nil
	}
	return netip.Addr{}, err
}

// Addr returns the address that the peer is to connect to: the first reply.
func (b *Binding) Addr() netip.AddrPort {
	a := b.listener.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Close stops listening. A second call does nothing.
func (b *Binding) Close() { b.close.Do(func() { b.listener.Close() }) }

// Accept waits for the expected peer and stops listening. It returns the
// connection as a non-blocking descriptor that belongs to the caller, and the
// peer for the second reply. Connections of others are reset. The error
// matches os.ErrDeadlineExceeded when the peer did not come in time, and the
// context's when that ended.
func (b *Binding) Accept(ctx context.Context) (fd int, peer netip.AddrPort, err error) {
	defer b.Close()
	if err := b.listener.SetDeadline(b.deadline); err != nil {
		return -1, netip.AddrPort{}, fmt.Errorf("socks: wait for the peer: %w", err)
	}
	defer context.AfterFunc(ctx, b.Close)()
	for {
		conn, err := b.listener.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return -1, netip.AddrPort{}, fmt.Errorf("socks: wait for the peer: %w", err)
		}
		peer = conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
		if !b.welcome(peer) {
			_ = conn.SetLinger(0) // at worst it is closed in order
			conn.Close()
			continue
		}
		fd, err = detach(conn)
		if err != nil {
			return -1, netip.AddrPort{}, fmt.Errorf("socks: take over the peer: %w", err)
		}
		return fd, peer, nil
	}
}

// welcome says whether a peer is the one that is expected.
func (b *Binding) welcome(peer netip.AddrPort) bool {
	if len(b.expected) > 0 && !slices.Contains(b.expected, peer.Addr().WithZone("")) {
		return false
	}
	return b.allow == nil || b.allow(peer) == nil
}

// detach takes the descriptor out of a connection, which is closed. Package
// net keeps it registered with its own poller until then, hence a duplicate.
func detach(conn *net.TCPConn) (int, error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var failure error
	err = raw.Control(func(old uintptr) {
		// Whether it blocks belongs to the open file, not to the number.
		fd, failure = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(err, os.NewSyscallError("fcntl", failure)); err != nil {
		return -1, err
	}
	return fd, nil
}
