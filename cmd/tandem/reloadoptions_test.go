// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"regexp"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/options"
)

// TestReloadTurnsOptionsOn begins without options. A reload brings them, also for
// connections that are there, and the next one lets clients ask in TCP options.
func TestReloadTurnsOptionsOn(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`(?m)^    options: .*\n`)
	c := everyoneWith(t, line.ReplaceAllString(granting, ""))
	reload := func(config string) {
		t.Helper()
		before := countLogged(c.aggregator, "configuration reloaded")
		if err := c.aggregator.Write("admin: {socket: " + c.socket + "}\n" + config); err != nil {
			t.Fatal(err)
		}
		if err := c.aggregator.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		labtest.Await(t, patience, "the reload", func() bool { return countLogged(c.aggregator, "configuration reloaded") > before })
	}
	primary := everyOption[0]
	conn := c.tunnel()
	poke := func() { exchange(t, conn) }
	c.operate(primary.option, primary.first)
	c.inForce(&primary, "default", "operator", "unsupported", byDefault, poke)

	reload(line.ReplaceAllString(granting, "    options: {defaults: {scheduler: default}}\n"))
	c.operate(primary.option, primary.first)
	c.inForce(&primary, primary.first, "operator", "as asked", primary.doesFirst, poke)
	c.operate(primary.option, "")
	c.inForce(&primary, "", "", "", byDefault, poke)
	c.gone(conn)

	reload(granting)
	conn = c.tunnel()
	local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	i := newInjector(t, c.Client, "wifi", local, netip.MustParseAddrPort("192.0.2.1:1080"), func() {
		for range 3 { // until the kernel takes MPTCP for established
			exchange(t, conn)
		}
	})
	v, err := options.Scheduler.Parse(primary.first)
	if err != nil {
		t.Fatal(err)
	}
	again := request(byte(options.Scheduler), byte(v>>16), byte(v>>8), byte(v))
	c.inForce(&primary, primary.first, "tcp-option", "as asked", primary.doesFirst, func() { i.send(again...) })
	c.gone(conn)
}
