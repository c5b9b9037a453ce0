// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

const redirect = `
listeners:
  - name: own
    type: redirect
    listen: ["127.0.0.1:8805", "[::1]:8805"]
    upstream: hag
upstreams:
  - name: hag
    type: convert
    servers: ["192.0.2.1:8803"]
    when-down: refuse
`

// TestRedirect intercepts what programs of the CPE itself do, and nothing that
// tandem does: it would meet itself again.
func TestRedirect(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 300_000, aggregator, redirect)
	h.fetchOwn(t, "upstream=hag/192.0.2.1:8803")
	for _, server := range []string{"server=203.0.113.80:80", "server=[2001:db8:c::80]:80"} {
		awaitLog(t, h.aggregator, "listener=converter", "client_mptcp=yes", server)
	}

	// Not even towards the same servers, to which there is no exception.
	reload(t, h.cpe, strings.Replace(redirect, "upstream: hag", "upstream: direct", 1))
	h.fetchOwn(t, "upstream=direct")
	if n := countLogged(h.cpe, "listener=own"); n != 4 {
		t.Errorf("%d connections were intercepted, want 4", n)
	}
	// What is forwarded is none of it.
	fetch(t, h.Client, h.web, h.v4)
	if n := countLogged(h.cpe, "listener=own"); n != 4 {
		t.Errorf("%d connections were intercepted, want 4", n)
	}
}

// fetchOwn downloads with curl on the CPE, over IPv4 and IPv6.
func (h *home) fetchOwn(t *testing.T, way string) {
	t.Helper()
	for _, server := range []netip.AddrPort{h.v4, h.v6} {
		fetch(t, h.CPE, h.web, server)
		labtest.Await(t, patience, "the connection to end", func() bool {
			return countLogged(h.cpe, "listener=own", "server="+server.String(), way) == 1
		})
	}
}
