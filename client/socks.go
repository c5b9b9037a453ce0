// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/tandem-gateway/tandem/proxy/socks"
)

// throughSOCKS asks for the options behind the user name.
func (d *Dialer) throughSOCKS(ctx context.Context, network, address string) (*Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := cmp.Or(d.Resolver, net.DefaultResolver).LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	target := socks.Target{Host: host, Addr: netip.AddrPortFrom(netip.Addr{}, uint16(port))}
	if a, err := netip.ParseAddr(host); err == nil {
		target = socks.Target{Addr: netip.AddrPortFrom(a, uint16(port))}
	}
	client := socks.Client{User: d.User, Password: d.Password}
	if !d.Options.Empty() {
		client.User += ";" + d.Options.String()
		// A server that knows no users takes any password, but not none.
		client.Password = cmp.Or(client.Password, "-")
	}
	return d.ask(ctx, d.SOCKS, func(c *Conn) error { return c.converse(client.Handshake(target)) })
}

// converse goes through a handshake. It reads a byte at a time, because what
// follows is the server's.
func (c *Conn) converse(h *socks.ClientHandshake) error {
	var in []byte
	for {
		n, send, done, err := h.Next(in)
		in = in[n:]
		if len(send) > 0 {
			if _, err := c.Write(send); err != nil {
				return err
			}
		}
		switch {
		case done:
			return nil
		case err != nil && !errors.Is(err, socks.ErrShort):
			return err
		case err == nil && n > 0:
			continue // there may be more to say
		}
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		in = append(in, b[0])
	}
}
