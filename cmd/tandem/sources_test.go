// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// through is the aggregator with options for its way to the servers.
func through(direct string) string {
	return aggregator + "upstreams:\n  - name: direct\n    type: direct\n    direct: {" + direct + "}\n"
}

// TestSourceAddresses looks at the addresses that servers see behind the
// aggregator.
func TestSourceAddresses(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 100_000, aggregator, cpe)
	h.expectSource(t, h.v4, h.CoreAddr.V4)
	h.expectSource(t, h.v6, h.CoreAddr.V6)

	// The CPE is the aggregator's client, and comes over IPv4 only.
	reload(t, h.aggregator, through("source: client"))
	h.expectSource(t, h.v4, h.DSL.Addr.V4)
	h.expectSource(t, h.v6, h.CoreAddr.V6)

	// Nobody would take their answers in.
	reload(t, h.aggregator, through("source: pool, pool: [192.0.2.200]"))
	awaitLog(t, h.aggregator, "level=WARN", "servers cannot answer", "address=192.0.2.200", "ip route add local 192.0.2.200 dev lo")

	// Addresses that are routed to the aggregator, of which no interface has any.
	for _, routed := range []string{"192.0.2.128/25", "2001:db8:a:1::/64"} {
		if _, err := h.Aggregator.Command(t.Context(), "ip", "route", "add", "local", routed, "dev", "lo").Output(); err != nil {
			t.Fatal(err)
		}
	}
	reload(t, h.aggregator, through(`source: pool, pool: [192.0.2.200, 192.0.2.201, "2001:db8:a:1::200"]`))
	v4 := h.expectSource(t, h.v4, netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("192.0.2.201"))
	h.expectSource(t, h.v4, v4)
	h.expectSource(t, h.v4, v4)
	h.expectSource(t, h.v6, netip.MustParseAddr("2001:db8:a:1::200"))
}

// expectSource downloads from the LAN and returns the address from which the
// server says that it was asked.
func (h *home) expectSource(t *testing.T, server netip.AddrPort, want ...netip.Addr) netip.Addr {
	t.Helper()
	got := h.lastRequest(t, h.web, server).Remote.Addr()
	for _, a := range want {
		if a == got {
			return got
		}
	}
	t.Fatalf("the server %s saw %s, want one of %s", server, got, want)
	return got
}

// lastRequest downloads from the LAN and returns the server's account of it.
func (h *home) lastRequest(t *testing.T, web *apps.Nginx, server netip.AddrPort) apps.Request {
	t.Helper()
	before := requests(t, web)
	fetch(t, h.Client, web, server)
	var now []apps.Request
	labtest.Await(t, patience, "the access log", func() bool {
		now = requests(t, web)
		return len(now) > len(before)
	})
	return now[len(before)]
}

func requests(t *testing.T, web *apps.Nginx) []apps.Request {
	t.Helper()
	list, err := web.Requests()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestProxyProtocol tells the server of the aggregator's client.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1000, through("proxy-protocol: true"), cpe)
	v4, v6 := netip.AddrPortFrom(h.v4.Addr(), 8080), netip.AddrPortFrom(h.v6.Addr(), 8080)
	web := labtest.NginxWith(t, h.Server, apps.NginxConfig{Listen: []netip.AddrPort{v4, v6}, Size: 100_000, ProxyProtocol: true})
	for _, server := range []netip.AddrPort{v4, v6} {
		r := h.lastRequest(t, web, server)
		if r.Proxied.Addr().Unmap() != h.DSL.Addr.V4 || r.Proxied.Port() == 0 {
			t.Errorf("%s was told of %s, want %s", server, r.Proxied, h.DSL.Addr.V4)
		}
		awaitLog(t, h.aggregator, "client="+netip.AddrPortFrom(h.DSL.Addr.V4, r.Proxied.Port()).String(), "server="+server.String())
	}
}
