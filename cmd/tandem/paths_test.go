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
	fileSize  = 16_000_000
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
	before := counters(t, links...)
	r := fetch(t, tp.Client, web, server, "--proxy", "socks5h://127.0.0.1:1080")
	checkShares(t, 0.3, before, links...)
	checkGoodput(t, r)
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
	before := counters(t, links...)
	r := labtest.Curl(t, tp.Client, "--max-time", "60", "http://127.0.0.1:8080/data")
	checkFetched(t, web, r)
	checkShares(t, 0.3, before, links...)
	checkGoodput(t, r)
}

// checkGoodput is about links that carry linkRate each.
func checkGoodput(t *testing.T, r apps.CurlResult) {
	t.Helper()
	if r.Rate < aggregate {
		t.Errorf("%.1f Mbit/s over two links of %.0f, want %.0f", r.Rate/1e6, linkRate/1e6, aggregate/1e6)
	}
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
