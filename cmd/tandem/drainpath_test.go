// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/paths"
)

// meshed is a phone whose tandem opens the subflows, one whose kernel does, and
// one that asks for its second path to be closed.
const meshed = `
listeners:
  - {name: own, type: socks5, listen: ["127.0.0.1:1081"], upstream: own, options: {defaults: {scheduler: default}}}
  - {name: asking, type: socks5, listen: ["127.0.0.1:1082"], upstream: asking}
upstreams:
  - {name: own, type: convert, servers: ["192.0.2.1:8803"], when-down: refuse, paths: {manager: fullmesh}}
  - {name: asking, type: convert, servers: ["192.0.2.1:8803"], when-down: refuse, paths: {manager: fullmesh}, ask: {options: {subflow-rate-limit: "2:0"}}}
`

// inState counts the subflows of a connection in a state.
func inState(p *admin.Paths, state paths.State) int {
	n := 0
	for _, s := range p.Subflows {
		if s.State == state.String() {
			n++
		}
	}
	return n
}

// closed reports whether one of two paths was drained and closed.
func closed(p *admin.Paths) bool {
	return inState(p, paths.Withheld) == 1 && inState(p, paths.Established) == 1 && len(p.Past) > 0 &&
		p.Past[len(p.Past)-1].Closed == paths.Drained.String()
}

// TestClosesPath gives the second path a rate of 0 in the middle of a download,
// and takes that back.
func TestClosesPath(t *testing.T) {
	t.Parallel()
	c := newChooser(t, equalLinks, strings.Replace(granting, "    type: convert\n", "    type: convert\n    paths: {manager: default}\n", 1), 100_000_000)
	c.needSteering()
	_, phone, socket := c.tandem(c.Client, meshed)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	at := func(socket string, args ...string) string {
		l := &local{t: t, program: []string{program}, socket: socket}
		return l.must(args...)
	}
	done, end := c.download("--proxy", "socks5h://127.0.0.1:1081")
	awaitLink(t, c.Cell.Link, 500_000)
	one := c.await(phone, "the connection", func(one *admin.Connection) bool { return one.Server.MPTCP })
	token := one.Server.Token.String()
	if out := at(socket, "set", token, "subflow-rate-limit=2:0"); !strings.Contains(out, "as asked") || strings.Contains(out, "open") {
		t.Errorf("tandem set prints\n%s", out)
	}
	awaitPaths(t, phone, "the second path closed", closed)
	before := counters(t, c.links()...)
	c.awaitDown(before, 5_000_000) // two seconds
	if share := c.cellShare(before); share > 0.01 {
		t.Errorf("the path that was closed has carried %.1f %%", 100*share)
	}
	if p := awaitPaths(t, phone, "the second path still closed", closed); len(p.Past) != 1 {
		t.Errorf("subflows that have ended: %+v", p.Past)
	}

	at(socket, "set", token, "--clear", "all")
	awaitPaths(t, phone, "two paths again", func(p *admin.Paths) bool { return inState(p, paths.Established) == 2 })
	awaitLink(t, c.Cell.Link, 500_000)

	// The other end has not opened it, and says so.
	far := c.await(c.operator, "the connection", func(one *admin.Connection) bool { return one.Client.MPTCP })
	const why = "path 2 takes no more data, and stays open: its subflow is the peer's"
	if out := at(c.socket, "set", far.Client.Token.String(), "subflow-rate-limit=2:0"); !strings.Contains(out, "as asked: "+why) {
		t.Errorf("tandem set prints\n%s", out)
	}
	if out := at(c.socket, "connections"); !strings.Contains(out, "subflow-rate-limit=2:0 ("+why) {
		t.Errorf("tandem connections prints\n%s", out)
	}
	at(c.socket, "set", far.Client.Token.String(), "--clear", "all")
	end()
	<-done
}

// TestAskedToClosePath asks a converter for a rate of 0 on the second path, which
// the asker closes.
func TestAskedToClosePath(t *testing.T) {
	t.Parallel()
	c := newChooser(t, equalLinks, granting, 30_000_000)
	c.needSteering()
	_, phone, _ := c.tandem(c.Client, meshed)
	done, _ := c.download("--proxy", "socks5h://127.0.0.1:1082")
	awaitPaths(t, phone, "the second path closed", closed)
	checkFetched(t, c.web, <-done)
}

// TestClosesNoPathOfKernel drains a path whose subflow the kernel has opened.
func TestClosesNoPathOfKernel(t *testing.T) {
	t.Parallel()
	c := newChooser(t, equalLinks, granting, 100_000_000) // more than buffers take in, so that it goes on until end
	c.needSteering()
	_, phone, socket := c.tandem(c.Client, strings.ReplaceAll(meshed, "fullmesh", "kernel"))
	done, end := c.download("--proxy", "socks5h://127.0.0.1:1081")
	one := c.await(phone, "the connection", func(one *admin.Connection) bool { return one.Server.MPTCP })
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &local{t: t, program: []string{program}, socket: socket}
	out := l.must("set", one.Server.Token.String(), "subflow-rate-limit=2:0")
	if !strings.Contains(out, "stays open: its subflow is left to the path manager of the kernel") {
		t.Errorf("tandem set prints\n%s", out)
	}
	labtest.Await(t, patience, "both subflows", func() bool { return strings.Count(c.sockets(c.Client), "192.0.2.1:8803") >= 2 })
	end()
	<-done
}
