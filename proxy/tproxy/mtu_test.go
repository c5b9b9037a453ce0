// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestPathMTUIsDiscovered puts a client behind a router in the LAN whose link to
// the client takes smaller packets than the client says:
//
//	inner --- (MTU 1300) client --- CPE
//
// The router tells the server so, who is the proxy.
func TestPathMTUIsDiscovered(t *testing.T) {
	h := newHome(t)
	long := strings.Repeat("0123456789", 3000)
	for _, to := range both {
		greet(t, h.CPE, to, mptcp.ListenOptions{Socket: mptcp.SocketOptions{Transparent: true}}, func(*net.TCPConn) string { return long })
	}
	inner, err := h.Host("inner")
	if err != nil {
		t.Fatal(err)
	}
	innerAddrs := prefixes("192.168.7.2/24", "2001:db8:7::2/64")
	routerAddrs := prefixes("192.168.7.1/24", "2001:db8:7::1/64")
	if _, err := h.Link(inner, h.Client, "eth0", "inner", innerAddrs, routerAddrs, lab.LinkSpec{}); err != nil {
		t.Fatal(err)
	}
	output(t, h.Client, "ip", "link", "set", "inner", "mtu", "1300")
	if err := h.Client.Forwarding(true); err != nil {
		t.Fatal(err)
	}
	for n, via := range []netip.Addr{h.ClientAddr.V4, h.ClientAddr.V6} {
		if err := h.CPE.AddRoute(lab.Route{Dst: innerAddrs[n].Masked(), Via: via, Dev: "lan"}); err != nil {
			t.Fatal(err)
		}
		if err := inner.AddRoute(lab.Route{Dst: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}[n], Via: routerAddrs[n].Addr(), Dev: "eth0"}); err != nil {
			t.Fatal(err)
		}
	}
	install(t, h.CPE, forwarded(both...))
	for _, to := range h.targets(serverPort) {
		if got := (call{host: inner, to: to}).greeting(t); got != long {
			t.Errorf("%v: got %d bytes", to, len(got))
		}
	}
}
