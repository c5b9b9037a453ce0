// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"hash/maphash"
	"net/netip"

	"github.com/tandem-gateway/tandem/mptcp"
)

// SourceMode says which address servers see.
type SourceMode uint8

// The source modes.
const (
	SourceOwn    SourceMode = iota // the address the kernel chooses
	SourcePool                     // one of a pool, always the same for a client
	SourceClient                   // the client's own (IP_TRANSPARENT)
)

// Source chooses the address that servers see.
type Source struct {
	Mode SourceMode
	Pool []netip.Addr
}

// seed makes the choice from a pool unpredictable to clients, yet the same
// for one client as long as the process lives.
var seed = maphash.MakeSeed()

// local is the address to bind to on behalf of client when connecting to
// remote; the zero value leaves it to the kernel. A pool is "paired" (RFC 4787
// section 4.1): one client keeps one external address.
func (s *Source) local(client, remote netip.AddrPort) netip.AddrPort {
	switch s.Mode {
	case SourceClient:
		if client.Addr().Is4() == remote.Addr().Is4() {
			return netip.AddrPortFrom(client.Addr(), 0)
		}
	case SourcePool:
		var same [16]netip.Addr
		pool := same[:0]
		for _, a := range s.Pool {
			if a.Is4() == remote.Addr().Is4() {
				pool = append(pool, a)
			}
		}
		if len(pool) > 0 {
			return netip.AddrPortFrom(pool[maphash.Comparable(seed, client.Addr())%uint64(len(pool))], 0)
		}
	}
	return netip.AddrPort{}
}

// Direct is the upstream that connects to the server itself. It is its own
// only hop.
type Direct struct {
	name    string
	connect mptcp.ConnectOptions
	source  Source
	header  bool
	hops    []Hop
}

// NewDirect returns an upstream whose connections have the given options.
// With proxyHeader the client's address is told to the server in a PROXY
// protocol version 2 header.
func NewDirect(name string, connect mptcp.ConnectOptions, source Source, proxyHeader bool) *Direct {
	d := &Direct{name: name, connect: connect, source: source, header: proxyHeader}
	d.hops = []Hop{d}
	return d
}

// Hops implements Upstream.
func (d *Direct) Hops(*Request) []Hop { return d.hops }

// Name implements Hop.
func (d *Direct) Name() string { return d.name }

// Addresses implements Hop.
func (d *Direct) Addresses() []netip.AddrPort { return nil }

// Resolves implements Hop.
func (d *Direct) Resolves() bool { return false }

// Report implements Hop.
func (d *Direct) Report(*Request, mptcp.Status, error) {}

// Options implements Hop.
func (d *Direct) Options(c *Client, req *Request, remote netip.AddrPort) mptcp.ConnectOptions {
	o := d.connect
	if req.MPTCP && o.Mode == mptcp.ModeOff {
		o.Mode = mptcp.ModePrefer
	}
	o.Local = d.source.local(c.Remote, remote)
	o.Socket.Transparent = o.Local.IsValid() && d.source.Mode == SourceClient
	o.Socket.FreeBind = o.Local.IsValid()
	return o
}

// Converse implements Hop.
func (d *Direct) Converse(c *Client, _ *Request, target netip.AddrPort) (Conversation, error) {
	if !d.header {
		return nil, nil
	}
	return &announcement{client: c.Remote, target: target}, nil
}
