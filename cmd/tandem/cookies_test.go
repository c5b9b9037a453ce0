// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
)

const wary = aggregator + "    convert: {cookies: required}\n"

// TestCookies proves the CPE's address to an aggregator that demands it, once,
// and once more when the aggregator has forgotten its secret.
func TestCookies(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 100_000, "drain-timeout: 0s\n"+aggregator, cpe)
	if err := h.aggregator.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-h.aggregator.Done()

	// A health check may be the first to be asked for a cookie.
	tandem := startTandem(t, h.Aggregator, wary)
	const missing = "cookie is missing"
	fetch(t, h.Client, h.web, h.v4)
	refusals := countLogged(tandem, "refused")
	if refusals == 0 || refusals != countLogged(tandem, "refused", missing) {
		t.Errorf("%d refusals, want some, all for want of a cookie", refusals)
	}
	fetch(t, h.Client, h.web, h.v6)
	labtest.Await(t, patience, "both connections to end", func() bool { return countLogged(tandem, "upstream=direct") == 2 })
	if n := countLogged(tandem, "refused"); n != refusals {
		t.Errorf("%d more refusals with the cookie", n-refusals)
	}
	if err := tandem.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-tandem.Done()

	tandem = runTandem(t, h.Aggregator, wary)
	labtest.Await(t, patience, "the new aggregator to be used", func() bool {
		// A cookie is beyond doubt while it is fresh.
		return labtest.Curl(t, h.Client, "--max-time", "10", h.web.URL(h.v4)).ExitCode == 0
	})
	awaitLog(t, tandem, "refused", "reason=authentication", "cookie")
	awaitLog(t, tandem, "refused", missing)
	awaitLog(t, tandem, "upstream=direct", "client=198.51.100.2:")

	// Nobody else's cookie will do, and no client can do without.
	x := converter.NewDialer(converter.DialerConfig{})
	answer, _, err := converse(t, h.CPE, x, h.v4, converter.Extras{})
	if err != nil {
		t.Errorf("answer %+v, %v", answer, err)
	}
	forged := wire.Message{Cookie: []byte("an invented one!"), Connect: &wire.Connect{Addr: h.v4.Addr(), Port: h.v4.Port()}}
	request, err := forged.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := dialConverter(t, h.CPE)
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	exchange, err := x.Connect(h.v4, converter.Extras{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = readAnswer(t, exchange, c)
	var answered *converter.Error
	if !errors.As(err, &answered) || answered.Code != wire.NotAuthorized {
		t.Errorf("an invented cookie: %v, want error %d", err, wire.NotAuthorized)
	}
}
