// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// A net.Resolver detaches its queries from the context of the lookup: once
// that has ended they go on, unheard, for 5 seconds and several attempts. The
// values of the context stay visible to Dial as long as it has not ended, so
// it carries itself there and bounds the sockets of the queries.
type lookupKey struct{}

// withSelf returns ctx with itself as the value that Dial finds.
func withSelf(ctx context.Context) context.Context {
	return context.WithValue(ctx, lookupKey{}, ctx)
}

// dialFunc returns the Dial of a net.Resolver that asks server, or the name
// servers of the system when that is not valid.
func dialFunc(d *net.Dialer, server netip.AddrPort) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		lookup, ok := ctx.Value(lookupKey{}).(context.Context)
		if !ok || lookup.Err() != nil {
			return nil, context.DeadlineExceeded
		}
		if server.IsValid() {
			address = server.String()
		}
		c, err := d.DialContext(lookup, network, address)
		if err != nil {
			return nil, err
		}
		limit, _ := lookup.Deadline()
		switch c := c.(type) {
		case *net.UDPConn:
			return &boundedUDP{c, limit}, nil
		case *net.TCPConn:
			return &boundedTCP{c, limit}, nil
		}
		return c, nil
	}
}

// A net.Resolver sees from the type of a connection how to frame messages,
// hence one wrapper for each.
type (
	boundedUDP struct {
		*net.UDPConn
		limit time.Time
	}
	boundedTCP struct {
		*net.TCPConn
		limit time.Time
	}
)

// SetDeadline implements net.Conn; the deadline is not later than the limit.
func (c *boundedUDP) SetDeadline(t time.Time) error {
	return c.UDPConn.SetDeadline(earlier(t, c.limit))
}

// SetDeadline implements net.Conn; the deadline is not later than the limit.
func (c *boundedTCP) SetDeadline(t time.Time) error {
	return c.TCPConn.SetDeadline(earlier(t, c.limit))
}

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
