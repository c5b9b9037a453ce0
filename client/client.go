// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// ErrServer is a Dialer that does not say which one Tandem to go through.
var ErrServer = errors.New("want either a converter or a SOCKS5 server")

// Dialer connects through a Tandem. It must not be copied once it was used, and
// may be used by several goroutines at once.
type Dialer struct {
	// Converter is the Transport Converter (RFC 8803) to go through. Names are
	// resolved here then.
	Converter netip.AddrPort
	// SOCKS is the SOCKS5 server to go through instead, which resolves names.
	SOCKS netip.AddrPort
	// User and Password are for SOCKS; empty ones where the server knows none.
	User, Password string
	// Options are asked for. Servers that do not know them serve the connection
	// all the same.
	Options options.Set
	// Connect is how to connect to the Tandem, with ModePrefer or ModeRequire
	// over MPTCP; Connect.Timeout is for all that it takes.
	Connect mptcp.Dialer
	// Resolver of names; nil is net.DefaultResolver.
	Resolver *net.Resolver

	once  sync.Once
	state *converter.Dialer // cookies, and what the converter does not support
}

// Conn is a connection with a server.
type Conn struct {
	*mptcp.Conn
	// Answered says that the Tandem has told what it grants. SOCKS5 has no way
	// to: what is granted can be seen at the server only.
	Answered bool
	// Granted are those of Dialer.Options that are in force, as far as they are.
	Granted options.Set
}

// DialContext connects to an address, host:port, through the Tandem. Only
// networks of TCP are known. The error wraps *converter.Error or
// *socks.ReplyError for what the Tandem has answered, and errors of
// mptcp.Dialer.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (*Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("dial %s: %w", address, net.UnknownNetworkError(network))
	}
	if d.Connect.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Connect.Timeout)
		defer cancel()
	}
	dial := d.throughConverter
	switch {
	case d.Converter.IsValid() == d.SOCKS.IsValid():
		return nil, ErrServer
	case d.SOCKS.IsValid():
		dial = d.throughSOCKS
	}
	c, err := dial(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s through a Tandem: %w", address, err)
	}
	return c, nil
}

// ask opens a connection with the Tandem and has converse speak with it.
func (d *Dialer) ask(ctx context.Context, server netip.AddrPort, converse func(*Conn) error) (*Conn, error) {
	made, err := d.Connect.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: made}
	// What blocks ends with the context.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err = converse(c)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(cmp.Or(ctx.Err(), err), c.Close())
	}
	return c, nil
}

// throughConverter tries the addresses of a server one after the other.
func (d *Dialer) throughConverter(ctx context.Context, network, address string) (*Conn, error) {
	d.once.Do(func() {
		d.state = converter.NewDialer(converter.DialerConfig{AllowLoopback: d.Converter.Addr().IsLoopback()})
	})
	targets, err := d.resolve(ctx, network, address)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, target := range targets {
		x, err := d.state.Connect(target, converter.Extras{Choices: d.Options})
		for err == nil || errors.Is(err, converter.ErrRetry) {
			var c *Conn
			if c, err = d.ask(ctx, d.Converter, func(c *Conn) error { return c.exchange(x) }); err == nil {
				return c, nil
			}
		}
		if failures = append(failures, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (d *Dialer) resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	resolver := cmp.Or(d.Resolver, net.DefaultResolver)
	port, err := resolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		targets[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return targets, nil
}

// headerLen is how much of an answer says how long it is (RFC 8803, section
// 6.1): the second byte, in words of four.
const headerLen = 4

// exchange says what x has to say and reads the answer, and nothing of what
// follows it.
func (c *Conn) exchange(x *converter.Exchange) error {
	if _, err := c.Write(x.AppendRequest(nil, time.Now())); err != nil {
		return err
	}
	in := make([]byte, headerLen, 256*headerLen)
	if _, err := io.ReadFull(c, in); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	in = in[:max(int(in[1])*headerLen, headerLen)]
	if _, err := io.ReadFull(c, in[headerLen:]); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	answer, _, err := x.Read(in, time.Now())
	c.Answered, c.Granted = answer.Chosen, answer.Granted
	return err
}
