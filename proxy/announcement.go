// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// announcement is the conversation that sends a PROXY protocol header and
// waits for nothing.
type announcement struct{ client, target netip.AddrPort }

// Opening implements Conversation.
func (a *announcement) Opening(dst []byte) ([]byte, bool) {
	return appendProxyHeader(dst, a.client, a.target), true
}

// Next implements Conversation.
func (a *announcement) Next([]byte) (int, []byte, bool, error) { return 0, nil, true, nil }

// appendProxyHeader appends a PROXY protocol header of version 2: who connects,
// and where to. A header has addresses of one family, so that an IPv4 client of
// an IPv6 server, and the other way round, is shown as IPv4-mapped.
func appendProxyHeader(dst []byte, client, target netip.AddrPort) []byte {
	h := proxyproto.Header{
		Version:           2,
		Command:           proxyproto.PROXY,
		TransportProtocol: proxyproto.TCPv6,
		SourceAddr:        tcpAddr(client),
		DestinationAddr:   tcpAddr(target),
	}
	if client.Addr().Unmap().Is4() && target.Addr().Unmap().Is4() {
		h.TransportProtocol = proxyproto.TCPv4
	}
	b, err := h.Format()
	if err != nil {
		// Without an address, as for a server known by its name only, the
		// header can still say that the connection comes from a proxy.
		h = proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
		b, _ = h.Format()
	}
	return append(dst, b...)
}

func tcpAddr(a netip.AddrPort) *net.TCPAddr {
	return &net.TCPAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}
