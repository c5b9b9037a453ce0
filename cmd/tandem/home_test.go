// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

const aggregator = `
listeners:
  - name: converter
    type: convert
    listen: ["192.0.2.1:8803", "[2001:db8:a::1]:8803"]
    allow-from: [198.51.100.0/24, "2001:db8::/32"]
    upstream: direct
`

const cpe = `
listeners:
  - name: lan
    type: tproxy
    listen: ["0.0.0.0:8804", "[::]:8804"]
    allow-from: [192.168.1.0/24, "2001:db8:1::/64"]
    tproxy: {interfaces: [lan]}
    upstream: hag
upstreams:
  - name: hag
    type: convert
    servers: ["192.0.2.1:8803"]
    when-down: refuse
`

// equalHome is a home with two links of the same rate.
var equalHome = lab.HybridHomeSpec{DSL: lab.LinkSpec{Rate: linkRate}, LTE: lab.LinkSpec{Rate: linkRate}}

// home runs tandem as CPE and as aggregator, and a web server behind them.
type home struct {
	*lab.HybridHome
	web             *apps.Nginx
	v4, v6          netip.AddrPort
	cpe, aggregator *apps.Tandem
}

func newHome(t *testing.T, spec lab.HybridHomeSpec, size int64) *home {
	t.Helper()
	return newHomeWith(t, spec, size, aggregator, cpe)
}

// newHomeWith runs tandem with configurations of the test's own.
func newHomeWith(t *testing.T, spec lab.HybridHomeSpec, size int64, aggregator, cpe string) *home {
	t.Helper()
	h := &home{HybridHome: labtest.HybridHome(t, spec)}
	h.v4, h.v6 = netip.AddrPortFrom(h.ServerAddr.V4, 80), netip.AddrPortFrom(h.ServerAddr.V6, 80)
	h.web = labtest.Nginx(t, h.Server, size, h.v4, h.v6)
	h.aggregator = runTandem(t, h.Aggregator, aggregator)
	h.cpe = runTandem(t, h.CPE, cpe)
	return h
}

func (h *home) links() []*lab.Link { return []*lab.Link{h.DSL.Link, h.LTE.Link} }

// TestHome downloads from a LAN client that knows of no proxy, over IPv4 and
// IPv6.
func TestHome(t *testing.T) {
	h := newHome(t, equalHome, fileSize)
	for _, addr := range []netip.AddrPort{h.v4, h.v6} {
		checkAggregation(t, h.links(), func() apps.CurlResult { return fetch(t, h.Client, h.web, addr) })
		awaitLog(t, h.aggregator, "listener=converter", "server="+addr.String(), "client_mptcp=yes")
	}
}

// download begins to fetch the file.
func (h *home) download(t *testing.T) <-chan apps.CurlResult {
	done := make(chan apps.CurlResult, 1)
	go func() {
		r, err := apps.Curl(t.Context(), h.Client, "--max-time", "60", h.web.URL(h.v4))
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	return done
}

// TestHomeLinkCut cuts a link in the middle of a download and later restores it.
func TestHomeLinkCut(t *testing.T) {
	h := newHome(t, equalHome, fileSize)
	for _, access := range []lab.Access{h.LTE, h.DSL} {
		before := counters(t, h.links()...)
		done := h.download(t)
		awaitBytes(t, h, before, fileSize/4)
		if err := access.Down(); err != nil {
			t.Fatal(err)
		}
		checkFetched(t, h.web, <-done)
		if err := access.Up(); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitBytes waits until the links have carried so many bytes to the home.
func awaitBytes(t *testing.T, h *home, before []uint64, n uint64) {
	t.Helper()
	labtest.Await(t, 30*time.Second, "bytes over the links", func() bool {
		now := counters(t, h.links()...)
		return now[0]-before[0]+now[1]-before[1] >= n
	})
}
