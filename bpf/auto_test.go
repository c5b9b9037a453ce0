// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// auto is a connection with that scheduler over emulated links.
func auto(t *testing.T, wifi, cell lab.LinkSpec) *steered {
	t.Helper()
	wifi.Emulate, cell.Emulate = true, true
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: wifi, Cell: cell})
	return steerOver(t, tp, Options{Steering: true}, Policy{Scheduler: Auto})
}

// awaitThin moves a little at a time until all of it goes onto one path.
func (c *steered) awaitThin(t *testing.T, path int) {
	t.Helper()
	labtest.Await(t, patience, "thin stream on the path with less delay", func() bool {
		got := c.sent(t, c.ends, 1000)
		return got[path] > 0 && got[1-path] == 0
	})
}

// TestAutoThin changes which path has less delay.
func TestAutoThin(t *testing.T) {
	c := auto(t, lab.LinkSpec{Delay: 40 * time.Millisecond}, lab.LinkSpec{Delay: 5 * time.Millisecond})
	c.awaitThin(t, 1)
	if err := c.Cell.SetDelay(150 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c.awaitThin(t, 0)
}

// TestAutoAdds has both paths carry bulk that neither could alone, and only one
// of them when there is little left.
func TestAutoAdds(t *testing.T) {
	// The kernel's own links: emulated ones carry no more together than the
	// processor lets the emulator, so that a second one adds nothing to the first
	// where others want it.
	link := lab.LinkSpec{Rate: 20e6}
	c := steerOver(t, labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link}), Options{Steering: true}, Policy{Scheduler: Auto})
	stop := c.bulk(t)
	// A trial that others disturb fails, and another one comes later and later.
	labtest.Await(t, 3*patience, "bulk on the second path", func() bool { return c.state(t, c.ends)[1].Sent >= 2e6 })
	stop()
}

// withThird is a connection with that scheduler over three of the kernel's own
// links.
func withThird(t *testing.T, third lab.LinkSpec) *steered {
	t.Helper()
	link := lab.LinkSpec{Rate: 20e6}
	tp := labtest.TwoPath(t, lab.TwoPathSpec{WiFi: link, Cell: link})
	here, there := netip.MustParsePrefix("10.9.0.2/24"), netip.MustParsePrefix("10.9.0.1/24")
	if _, err := tp.Link(tp.Client, tp.Aggregator, "sat", "toclient", []netip.Prefix{here}, []netip.Prefix{there}, third); err != nil {
		t.Fatal(err)
	}
	const table = 103
	if err := tp.Client.AddRoute(lab.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: there.Addr(), Dev: "sat", Table: table}); err != nil {
		t.Fatal(err)
	}
	if err := tp.Client.AddRule(netip.PrefixFrom(here.Addr(), 32), table); err != nil {
		t.Fatal(err)
	}
	if err := tp.Client.Endpoint(here.Addr(), "sat", "subflow"); err != nil {
		t.Fatal(err)
	}
	c := steerOver(t, tp, Options{Steering: true}, Policy{Scheduler: Auto})
	labtest.Await(t, patience, "third subflow", func() bool { return c.state(t, c.ends)[2].Subflow != 0 })
	return c
}

// TestAutoAddsThird has all of three paths carry bulk.
func TestAutoAddsThird(t *testing.T) {
	c := withThird(t, lab.LinkSpec{Rate: 20e6})
	stop := c.bulk(t)
	for i := 1; i <= 2; i++ {
		labtest.Await(t, 3*patience, "bulk on another path", func() bool { return c.state(t, c.ends)[i].Sent >= 2e6 })
	}
	stop()
}

// TestAutoThirdHurts: a third path of no use is left, and the two others go on.
func TestAutoThirdHurts(t *testing.T) {
	c := withThird(t, lab.LinkSpec{Rate: 400e3})
	stop := c.bulk(t)
	labtest.Await(t, 3*patience, "third path was tried and left, the second one was not", func() bool {
		state := c.state(t, c.ends)
		return state[2].Sent > 0 && state[2].Limit == 0 && state[1].Limit > 0
	})
	c.awaitSent(t, c.ends, 1, 2e6)
	stop()
}

// TestAutoHurts: a path that others would have to wait for is tried and left, and
// a later connection that has nothing to gain by it does not try it again.
func TestAutoHurts(t *testing.T) {
	c := auto(t, lab.LinkSpec{Rate: 20e6, Delay: 5 * time.Millisecond}, lab.LinkSpec{Rate: 1e6, Delay: 5 * time.Millisecond})
	stop := c.bulk(t)
	before := c.state(t, c.ends)[1].Sent
	// As above, trials come later and later.
	labtest.Await(t, 3*patience, "second path was tried and left", func() bool {
		second := c.state(t, c.ends)[1]
		return second.Sent > before && second.Limit == 0
	})
	stop()
	later := c.connect(t, Policy{Scheduler: Auto})
	// It may be the path of a thin stream, before there is bulk.
	if got := c.sent(t, later, 3e6); got[1] > 150e3 {
		t.Errorf("%d bytes on a path that is known to hurt", got[1])
	}
}

// TestAutoLooksFirst: a path of no use gets little more than it takes to see that,
// at once and when it is closed.
func TestAutoLooksFirst(t *testing.T) {
	c := auto(t, lab.LinkSpec{Rate: 20e6, Delay: 5 * time.Millisecond}, lab.LinkSpec{Rate: 400e3, Delay: 20 * time.Millisecond})
	c.awaitThin(t, 0)
	before := c.state(t, c.ends)[1].Sent
	stop := c.bulk(t)
	labtest.Await(t, patience, "second path was tried and left", func() bool {
		second := c.state(t, c.ends)[1]
		return second.Sent > before && second.Limit == 0 && second.Queued == 0
	})
	c.awaitSent(t, c.ends, 0, 2e6)
	stop()
	if got := c.state(t, c.ends)[1].Sent - before; got > 2*burst {
		t.Errorf("%d bytes on a path of no use", got)
	}
}

// TestAutoDies has the path in use fail.
func TestAutoDies(t *testing.T) {
	c := auto(t, lab.LinkSpec{Rate: 20e6, Delay: 5 * time.Millisecond}, lab.LinkSpec{Rate: 20e6, Delay: 30 * time.Millisecond})
	c.awaitThin(t, 0)
	stop := c.bulk(t)
	c.awaitSent(t, c.ends, 0, 100_000)
	if err := c.WiFi.Down(); err != nil {
		t.Fatal(err)
	}
	c.awaitSent(t, c.ends, 1, 500_000)
	if err := c.WiFi.Up(); err != nil {
		t.Fatal(err)
	}
	c.awaitSent(t, c.ends, 0, 500_000)
	stop()
}

// TestAutoInstead begins on a path that is too slow for bulk, and is to leave it.
func TestAutoInstead(t *testing.T) {
	c := auto(t, lab.LinkSpec{Rate: 400e3, Delay: 5 * time.Millisecond}, lab.LinkSpec{Rate: 20e6, Delay: 5 * time.Millisecond})
	stop := c.bulk(t)
	labtest.Await(t, 6*patience, "bulk on the other path alone", func() bool {
		state := c.state(t, c.ends)
		return state[0].Limit == 0 && state[1].Sent > 1e6
	})
	stop()
}

// TestAutoTellsRoutesApart: what is learnt of one path is not taken for the other,
// though their addresses differ in one bit only.
func TestAutoTellsRoutesApart(t *testing.T) {
	c := auto(t, lab.LinkSpec{}, lab.LinkSpec{})
	var raw schedulerConnection
	if err := c.s.common.Maps[schedulerMapConnections].Lookup(&c.clientToken, &raw); err != nil {
		t.Fatal(err)
	}
	if raw.Paths[0].Route == raw.Paths[1].Route {
		t.Errorf("%v and %v share a place", c.WiFi.Addr.V4, c.Cell.Addr.V4)
	}
}

// TestAutoFromStart has a slow path carry nothing of what a connection sends once
// it is under the policy, in whatever order the kernel lists its subflows.
func TestAutoFromStart(t *testing.T) {
	c := auto(t, lab.LinkSpec{Rate: 20e6, Delay: 5 * time.Millisecond}, lab.LinkSpec{Rate: 2e6, Delay: 30 * time.Millisecond})
	for range 6 {
		e := connectIn(t, c.Client, c.Aggregator, c.AggregatorAddr.V4)
		e.move(t, e.client, e.server, 1)
		e.move(t, e.server, e.client, 1)
		e.awaitEstablished(t, 2)
		c.set(t, e, Policy{Scheduler: Auto})
		if limit := c.state(t, e)[1].Limit; limit != 0 {
			t.Errorf("the second path has a limit of %d bit/s, want 0", limit)
		}
	}
}
