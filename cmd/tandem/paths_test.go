// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// linkRate is the rate of each of two equal links in bit/s, aggregate what
// both together have to reach at least.
const (
	linkRate  = 20e6
	aggregate = 1.7 * linkRate
	fileSize  = 12_000_000
	// attempts at the rate of two links: other tests want the processors too.
	attempts = 6
)

var equalLinks = lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: linkRate}, Cell: lab.LinkSpec{Rate: linkRate}}

const socksServer = `
listeners:
  - name: phones
    type: socks5
    listen: ["192.0.2.1:1080", "[2001:db8:a::1]:1080"]
    allow-from: [198.51.100.0/24, "2001:db8::/32"]
    upstream: direct
`

const socksClient = `
listeners:
  - name: apps
    type: socks5
    listen: ["127.0.0.1:1080"]
    upstream: tunnel
upstreams:
  - name: tunnel
    type: socks5
    servers: ["192.0.2.1:1080"]
    when-down: refuse
`

// TestPhone downloads with curl through tandem on the phone and tandem on the
// aggregator, over both links.
func TestPhone(t *testing.T) {
	tp := labtest.TwoPath(t, equalLinks)
	server := netip.AddrPortFrom(tp.ServerAddr.V4, 80)
	web := labtest.Nginx(t, tp.Server, fileSize, server)
	runTandem(t, tp.Aggregator, socksServer)
	runTandem(t, tp.Client, socksClient)
	links := []*lab.Link{tp.WiFi.Link, tp.Cell.Link}
	checkAggregation(t, links, func() apps.CurlResult {
		return fetch(t, tp.Client, web, server, "--proxy", "socks5h://127.0.0.1:1080")
	})
}

// TestForward downloads through a plain relay on the phone and one on the
// aggregator.
func TestForward(t *testing.T) {
	tp := labtest.TwoPath(t, equalLinks)
	server := netip.AddrPortFrom(tp.ServerAddr.V4, 80)
	web := labtest.Nginx(t, tp.Server, fileSize, server)
	runTandem(t, tp.Aggregator, `
listeners:
  - name: web
    type: forward
    listen: ["192.0.2.1:8080"]
    allow-from: [198.51.100.0/24]
    forward: {target: "203.0.113.80:80"}
`)
	runTandem(t, tp.Client, `
listeners:
  - name: web
    type: forward
    listen: ["127.0.0.1:8080"]
    forward: {target: "192.0.2.1:8080"}
    upstream: multipath
upstreams:
  - {name: multipath, type: direct, mptcp: on}
`)
	links := []*lab.Link{tp.WiFi.Link, tp.Cell.Link}
	checkAggregation(t, links, func() apps.CurlResult {
		r := labtest.Curl(t, tp.Client, "--max-time", "60", "http://127.0.0.1:8080/data")
		checkFetched(t, web, r)
		return r
	})
}

// checkAggregation downloads over two links that carry linkRate each: both have
// to be used, and to bring more together than one could.
func checkAggregation(t *testing.T, links []*lab.Link, download func() apps.CurlResult) {
	t.Helper()
	best := 0.0
	for range attempts {
		before := counters(t, links...)
		best = max(best, download().Rate)
		checkShares(t, 0.3, before, links...)
		if best >= aggregate {
			return
		}
	}
	t.Errorf("%.1f Mbit/s over two links of %.0f, want %.0f", best/1e6, linkRate/1e6, aggregate/1e6)
}

// TestClientWithoutMPTCP serves a stock client at an MPTCP listener and says
// that the connection is plain TCP.
func TestClientWithoutMPTCP(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	v4, v6 := netip.AddrPortFrom(tp.ServerAddr.V4, 80), netip.AddrPortFrom(tp.ServerAddr.V6, 80)
	web := labtest.Nginx(t, tp.Server, 100_000, v4, v6)
	tandem := runTandem(t, tp.Aggregator, socksServer)
	fetch(t, tp.Client, web, v4, "--proxy", "socks5h://192.0.2.1:1080")
	fetch(t, tp.Client, web, v6, "--proxy", "socks5h://[2001:db8:a::1]:1080")
	awaitLog(t, tandem, "listener=phones", "client_mptcp=peer_tcp", "server=203.0.113.80:80")
	awaitLog(t, tandem, "listener=phones", "client_mptcp=peer_tcp", "server=[2001:db8:c::80]:80")
}
