// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/apps"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// redundantTunnel is a connection of the home over two legs, and a server that
// echoes.
type redundantTunnel struct {
	*home
	net.Conn
}

const tunnelCPE = `
listeners:
  - {name: lan, type: forward, listen: ["192.168.1.1:7001"], allow-from: [192.168.1.0/24], forward: {target: "203.0.113.80:7"}, upstream: hag}
upstreams:
  - {name: hag, type: convert, servers: ["192.0.2.1:8803"], when-down: refuse, convert: {redundant: true, redundant-paths: [dsl, lte]}}
`

func newRedundantTunnel(t *testing.T, spec lab.LinkSpec, aggregator string) *redundantTunnel {
	t.Helper()
	h := newRedundantHome(t, lab.HybridHomeSpec{DSL: spec, LTE: spec}, aggregator, tunnelCPE)
	echo(t, h.Server, "203.0.113.80:7")
	return &redundantTunnel{h, h.tunnel(t)}
}

// tunnel opens a connection and waits until it is redundant.
func (h *home) tunnel(t *testing.T) net.Conn {
	t.Helper()
	before := []int{h.changes("dsl", "up"), h.changes("lte", "up")}
	var c net.Conn
	err := h.Client.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", "192.168.1.1:7001", patience)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	exchange(t, c)
	for i, path := range []string{"dsl", "lte"} {
		h.awaitChange(t, path, "up", before[i])
	}
	return c
}

// changes is how often a leg came up, or went down, on a path.
func (h *home) changes(path, what string) int {
	return countLogged(h.cpe, "a leg is "+what, "path="+path)
}

func (h *home) awaitChange(t *testing.T, path, what string, before int) {
	t.Helper()
	labtest.Await(t, 30*time.Second, "a leg that is "+what+" on "+path, func() bool { return h.changes(path, what) > before })
}

// TestRedundantLegReturns: a leg is back when its link is, and has another
// address when the CPE has.
func TestRedundantLegReturns(t *testing.T) {
	t.Parallel()
	r := newRedundantTunnel(t, lab.LinkSpec{Emulate: true, Delay: 5 * time.Millisecond}, redundantAggregator)
	// Dead without notice, and while there is something to say.
	dead := func(l *lab.Link, is bool) {
		t.Helper()
		var loss emulator.Loss
		if is {
			loss = emulator.RandomLoss(1)
		}
		if err := l.SetLoss(loss); err != nil {
			t.Fatal(err)
		}
	}
	up, down := r.changes("dsl", "up"), r.changes("dsl", "down")
	dead(r.DSL.Link, true)
	exchange(t, r)
	r.awaitChange(t, "dsl", "down", down)
	exchange(t, r)
	dead(r.DSL.Link, false)
	r.awaitChange(t, "dsl", "up", up)
	dead(r.LTE.Link, true)
	exchange(t, r) // over the leg that is new
	dead(r.LTE.Link, false)

	up = r.changes("dsl", "up")
	old := r.DSL.Addr.V4
	if err := r.CPE.Sysctl("net.ipv4.conf.dsl.promote_secondaries", "1"); err != nil {
		t.Fatal(err)
	}
	if err := r.CPE.AddAddress("dsl", netip.PrefixFrom(netip.MustParseAddr("198.51.100.3"), 25)); err != nil {
		t.Fatal(err)
	}
	if err := r.CPE.RemoveAddress("dsl", netip.PrefixFrom(old, 25)); err != nil {
		t.Fatal(err)
	}
	exchange(t, r)
	r.awaitChange(t, "dsl", "up", up)
	dead(r.LTE.Link, true)
	exchange(t, r)
}

// TestRedundantRestart: streams live through reloads at both ends and through an
// upgrade of the aggregator, and clients are told when it has forgotten them.
func TestRedundantRestart(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	config := fmt.Sprintf("admin: {socket: %s}\n%s", socket, redundantAggregator)
	r := newRedundantTunnel(t, lab.LinkSpec{}, config)
	client := admin.NewClient(socket)
	t.Cleanup(client.Close)
	endSuccessor(t, client)

	reload(t, r.cpe, strings.Replace(tunnelCPE, "name: lan", "name: home", 1))
	reload(t, r.aggregator, config)
	exchange(t, r)
	r.tunnel(t).Close()

	old := r.aggregator
	if _, err := client.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	exchange(t, r)
	other := r.tunnel(t)
	// A leg that is lost now cannot come back, and another one does.
	down := r.changes("dsl", "down")
	loseLegs(t, r.home, r.DSL)
	r.awaitChange(t, "dsl", "down", down+1) // of both, and the first one again
	exchange(t, r)
	exchange(t, other)

	// The successor forgets everything.
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exchange(t, r) // its process lives
	r.aggregator = startAgain(t, r.home, config)
	expectReset(t, other)
	r.Close()
	select {
	case <-old.Done():
	case <-time.After(30 * time.Second):
		t.Error("the first aggregator has not ended with its last stream")
	}
	r.tunnel(t).Close()
}

// startAgain starts the aggregator once its addresses are free.
func startAgain(t *testing.T, h *home, config string) (again *apps.Tandem) {
	t.Helper()
	labtest.Await(t, 30*time.Second, "the aggregator to start again", func() bool {
		var err error
		again, err = apps.StartTandem(context.Background(), h.Aggregator, tandemConfig(t, config))
		return err == nil
	})
	return endWithTest(t, h.Aggregator, again)
}

// loseLegs resets what goes over a link.
func loseLegs(t *testing.T, h *home, a lab.Access) {
	t.Helper()
	out, err := h.CPE.Command(t.Context(), "ss", "-K", "src", a.Addr.V4.String(), "dport", "=", "8803").Output()
	if err != nil || !strings.Contains(string(out), "8803") {
		t.Skipf("ss cannot close connections: %v: %s", err, out)
	}
}

// expectReset waits for the end of a connection that nobody serves any more.
func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}
