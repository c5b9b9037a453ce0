// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// hold has a system call hold a connection until letGo is called; see
// [labtest.Hold]. The peer has read what that sent then.
func hold(t *testing.T, c, peer *net.TCPConn) (letGo func()) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sent func()
	if err := raw.Control(func(fd uintptr) { sent = labtest.Hold(t, int(fd)) }); err != nil {
		t.Fatal(err)
	}
	letGo = sync.OnceFunc(func() {
		sent()
		if _, err := io.CopyN(io.Discard, peer, int64(os.Getpagesize())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(letGo)
	return letGo
}

// TestJoinWhileHeld has a peer open a subflow while a system call holds the
// connection. The kernel numbers it when that ends; it is to get its share
// nevertheless.
func TestJoinWhileHeld(t *testing.T) {
	link := lab.LinkSpec{Rate: 40e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	labtest.Start(t, tp.Client, "ip", "mptcp", "endpoint", "flush").Wait()
	c := &steered{TwoPath: tp, s: steeringIn(t, tp.Aggregator, Options{Steering: true})}
	e := connectIn(t, tp.Client, tp.Aggregator, tp.AggregatorAddr.V4)
	answer := &ends{client: e.server, server: e.client, clientToken: e.serverToken}
	weighted := Policy{Scheduler: Weighted}
	weighted.Paths[0].Weight, weighted.Paths[1].Weight = 50, 50
	at(t, tp.Aggregator, func() error { return c.s.Set(answer.clientToken, weighted) })

	letGo := hold(t, answer.client, answer.server)
	if err := tp.Client.Endpoint(tp.Cell.Addr.V4, tp.Cell.Dev, "subflow"); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "the second path to be known", func() bool {
		var raw schedulerConnection
		err := c.s.common.Maps[schedulerMapConnections].Lookup(&answer.clientToken, &raw)
		return err == nil && raw.Paths[1].Addresses != 0
	})
	if n := c.state(t, answer)[1].Subflow; n != Unnumbered {
		t.Errorf("the second path has subflow %d while the connection is held", n)
	}
	letGo()
	stop := answer.bulk(t)
	c.awaitSent(t, answer, 1, 500_000)
	if n := c.state(t, answer)[1].Subflow; n != 2 {
		t.Errorf("the second path has subflow %d, want 2", n)
	}
	stop()
}
