// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

const (
	firstAggregator  = "192.0.2.1:8803"
	secondAggregator = "192.0.2.2:8803"

	twoServers = `
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
    servers: ["192.0.2.1:8803", "192.0.2.2:8803"]
    when-down: direct
    health: {interval: 200ms, timeout: 200ms, rise: 1, fall: 2}
`
)

// TestFailover uses the second aggregator while the first is dead, and does
// without any, or refuses clients, while both are.
func TestFailover(t *testing.T) {
	t.Parallel()
	h := &home{HybridHome: labtest.HybridHome(t, lab.HybridHomeSpec{})}
	h.v4 = netip.AddrPortFrom(h.ServerAddr.V4, 80)
	h.web = labtest.Nginx(t, h.Server, 100_000, h.v4)
	if err := h.Aggregator.AddAddress("lo", netip.MustParsePrefix("192.0.2.2/32")); err != nil {
		t.Fatal(err)
	}
	start := func(address string) *apps.Tandem {
		return startTandem(t, h.Aggregator, strings.Replace(aggregator, `"192.0.2.1:8803", "[2001:db8:a::1]:8803"`, `"`+address+`"`, 1))
	}
	kill := func(tandem *apps.Tandem) {
		if err := tandem.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-tandem.Done()
	}
	first, second := start(firstAggregator), start(secondAggregator)
	h.cpe = runTandem(t, h.CPE, twoServers)
	h.expectWay(t, "hag/"+firstAggregator)

	// Nobody waits for a check to find it dead.
	kill(first)
	h.expectWay(t, "hag/"+secondAggregator)
	awaitLog(t, h.cpe, "level=WARN", "hop is down", firstAggregator)
	h.expectWay(t, "hag/"+secondAggregator)

	kill(second)
	h.expectWay(t, "hag/direct")
	awaitLog(t, h.cpe, "level=ERROR", "no hop is up", "hag/direct")
	h.expectWay(t, "hag/direct")

	// One that went down once has to prove itself a little longer.
	first = start(firstAggregator)
	awaitLog(t, h.cpe, "level=INFO", "hop is up again", firstAggregator)
	h.expectWay(t, "hag/"+firstAggregator)

	reload(t, h.cpe, strings.Replace(twoServers, "when-down: direct", "when-down: refuse", 1))
	h.expectWay(t, "hag/"+firstAggregator)
	kill(first)
	h.expectRefusal(t)
	awaitLog(t, h.cpe, "level=ERROR", "no hop is up", "clients are refused")
	h.expectRefusal(t)
	endWithTest(t, h.Aggregator, start(secondAggregator))
	awaitLog(t, h.cpe, "level=INFO", "hop is up again", secondAggregator)
	h.expectWay(t, "hag/"+secondAggregator)
}

// expectWay downloads from the LAN and looks where the CPE went.
func (h *home) expectWay(t *testing.T, hop string) {
	t.Helper()
	line := []string{"connection ended", "upstream=" + hop + " ", "server=203.0.113.80:80"}
	before := countLogged(h.cpe, line...)
	fetch(t, h.Client, h.web, h.v4)
	labtest.Await(t, patience, "a connection by "+hop, func() bool { return countLogged(h.cpe, line...) > before })
}

// expectRefusal expects the CPE to reset a client of the LAN.
func (h *home) expectRefusal(t *testing.T) {
	t.Helper()
	const received = 56 // CURLE_RECV_ERROR
	r := labtest.Curl(t, h.Client, "--max-time", "10", h.web.URL(h.v4))
	if r.ExitCode != received || !strings.Contains(r.Message, "reset by peer") {
		t.Errorf("curl's exit code %d (%s), want a reset", r.ExitCode, r.Message)
	}
}
