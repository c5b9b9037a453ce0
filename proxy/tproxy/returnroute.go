// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// CheckDelivery finds out whether this machine would deliver to itself what
// comes back to a socket that is bound to the address of a client: it looks up
// the route of marked packets to there and sends nothing. The error is
// ErrNoReturnRoute if it would not.
//
// It runs in the network namespace of the calling thread, which must be that of
// Install.
func (i *Interceptor) CheckDelivery(client netip.Addr) error {
	c, err := i.current()
	if err == nil {
		err = c.checkDelivery(client.Unmap())
	}
	if err != nil {
		return fmt.Errorf("keep client address %v: %w", client, err)
	}
	return nil
}

// CheckReturnRoute finds out whether connections to servers can keep the address
// of a client. After CheckDelivery it connects to a server, from the client's address and with a port of the
// kernel's choice, and closes at once. That the server refuses is fine: the
// answer has come back. If none comes until ctx ends, the error is
// ErrNoReturnRoute: the network on the server's side lacks a route for the
// client's address by way of this machine.
//
// It runs in the network namespace of the calling thread, which must be that of
// Install.
func (i *Interceptor) CheckReturnRoute(ctx context.Context, client netip.Addr, server netip.AddrPort) error {
	c, err := i.current()
	if err == nil {
		err = c.checkReturnRoute(ctx, client.Unmap(), server)
	}
	if err != nil {
		return fmt.Errorf("keep client address %v: %w", client, err)
	}
	return nil
}

// current is the configuration in force.
func (i *Interceptor) current() (Config, error) {
	installing.Lock()
	defer installing.Unlock()
	if i.table == nil {
		return Config{}, ErrClosed
	}
	return i.config, nil
}

func (c *Config) checkDelivery(client netip.Addr) error {
	if !c.delivers() {
		return fmt.Errorf("%w: it is not asked for (KeepClientAddresses)", ErrNoReturnRoute)
	}
	routes, err := netlink.RouteGetWithOptions(client.AsSlice(), &netlink.RouteGetOptions{Mark: c.Mark})
	if err != nil {
		return fmt.Errorf("%w: look up the way of marked packets: %w", ErrNoReturnRoute, err)
	}
	if len(routes) == 0 || routes[0].Type != unix.RTN_LOCAL {
		return fmt.Errorf("%w: packets with mark %#x are not delivered to this machine: is there another routing rule before priority %d?", ErrNoReturnRoute, c.Mark, c.Priority)
	}
	return nil
}

func (c *Config) checkReturnRoute(ctx context.Context, client netip.Addr, server netip.AddrPort) error {
	if client.Is4() != server.Addr().Unmap().Is4() {
		return fmt.Errorf("server %v is of another family", server)
	}
	if err := c.checkDelivery(client); err != nil {
		return err
	}
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0)),
		Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			controlErr := raw.Control(func(fd uintptr) { err = transparent(int(fd), client, c.OwnMark) })
			return errors.Join(controlErr, err)
		},
	}
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp", server.String())
	var timeout net.Error
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, unix.ECONNREFUSED):
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: no answer from %v has come back: its network needs a route to %v by way of this machine (%w)", ErrNoReturnRoute, server, client, err)
	default:
		return err
	}
}

// transparent prepares a socket for a foreign local address.
func transparent(fd int, local netip.Addr, mark uint32) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if local.Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("set IP_TRANSPARENT: %w", err)
	}
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return fmt.Errorf("set SO_MARK: %w", err)
		}
	}
	return nil
}
