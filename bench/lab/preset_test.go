// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/serving"
)

func TestHybridHomeReachability(t *testing.T) {
	home := newHome(t, "homereach", HybridHomeSpec{})
	web := listen(t, home.Server, ":0", serving.Echo).Port()
	hag := listen(t, home.Aggregator, ":0", serving.Echo).Port()
	for _, tt := range []struct {
		name string
		from *Host
		to   netip.AddrPort
	}{
		{"client to server v4", home.Client, netip.AddrPortFrom(home.ServerAddr.V4, web)},
		{"client to server v6", home.Client, netip.AddrPortFrom(home.ServerAddr.V6, web)},
		{"cpe to aggregator v4", home.CPE, netip.AddrPortFrom(home.AggregatorAddr.V4, hag)},
		{"cpe to aggregator v6", home.CPE, netip.AddrPortFrom(home.AggregatorAddr.V6, hag)},
		{"aggregator to server v4", home.Aggregator, netip.AddrPortFrom(home.ServerAddr.V4, web)},
		{"aggregator to server v6", home.Aggregator, netip.AddrPortFrom(home.ServerAddr.V6, web)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkEcho(t, mustDial(t, tt.from, false, tt.to))
		})
	}
}

func TestHybridHomeUsesBothLinks(t *testing.T) {
	t.Parallel()
	for _, family := range []struct {
		name string
		pick func(Dual) netip.Addr
	}{
		{"v4", func(d Dual) netip.Addr { return d.V4 }},
		{"v6", func(d Dual) netip.Addr { return d.V6 }},
	} {
		t.Run(family.name, func(t *testing.T) {
			home := newHome(t, "homeboth", HybridHomeSpec{DSL: LinkSpec{Rate: 20e6}, LTE: LinkSpec{Rate: 20e6}})
			port := listen(t, home.Aggregator, ":0", discard).Port()
			c := mustDial(t, home.CPE, true, netip.AddrPortFrom(family.pick(home.AggregatorAddr), port))
			if multipath, err := c.MultipathTCP(); !multipath {
				t.Fatalf("connection is not MPTCP (%v)", err)
			}
			for name, link := range map[string]*Link{"dsl": home.DSL.Link, "lte": home.LTE.Link} {
				sendUntil(t, c, name+" to carry 3 MB", func() bool { return mustCount(t, link).AToB >= 3_000_000 })
			}
		})
	}
}

func TestHybridHomeSurvivesCut(t *testing.T) {
	t.Parallel()
	home := newHome(t, "homecut", HybridHomeSpec{DSL: LinkSpec{Rate: 20e6}, LTE: LinkSpec{Rate: 20e6}})
	port := listen(t, home.Aggregator, ":0", discard).Port()
	to := netip.AddrPortFrom(home.AggregatorAddr.V4, port)
	c := mustDial(t, home.CPE, true, to)
	sendUntil(t, c, "dsl to carry 500 kB", func() bool { return mustCount(t, home.DSL.Link).AToB >= 500_000 })
	if err := home.DSL.Down(); err != nil {
		t.Fatal(err)
	}
	before := mustCount(t, home.LTE.Link)
	sendUntil(t, c, "lte to carry 2.5 MB after the cut", func() bool { return mustCount(t, home.LTE.Link).Sub(before).AToB >= 2_500_000 })
	// What comes from the dead link's address must not leak onto the other.
	err := home.CPE.Do(func() error {
		d := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(home.DSL.Addr.V4, 0))}
		c, err := d.Dial("tcp4", to.String())
		if err == nil {
			c.Close()
		}
		return err
	})
	if err == nil {
		t.Error("the address of the dead link still reaches the aggregator")
	}
	if err := home.DSL.Up(); err != nil {
		t.Fatal(err)
	}
	err = home.CPE.Do(func() error {
		d := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(home.DSL.Addr.V4, 0))}
		c, err := d.Dial("tcp4", to.String())
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		t.Errorf("the restored link does not carry: %v", err)
	}
}

func TestTwoPathReachability(t *testing.T) {
	t.Parallel()
	tp, err := NewTwoPath("twopath", TwoPathSpec{WiFi: LinkSpec{Rate: 20e6}, Cell: LinkSpec{Rate: 10e6}})
	skipWithoutRoot(t, err)
	t.Cleanup(func() {
		if err := tp.Close(); err != nil {
			t.Error(err)
		}
	})
	port := listen(t, tp.Aggregator, ":0", serving.Echo).Port()
	sink := listen(t, tp.Aggregator, ":0", discard).Port()
	web := listen(t, tp.Server, ":0", serving.Echo).Port()
	for _, to := range []netip.AddrPort{
		netip.AddrPortFrom(tp.AggregatorAddr.V4, port), netip.AddrPortFrom(tp.AggregatorAddr.V6, port),
		netip.AddrPortFrom(tp.ServerAddr.V4, web), netip.AddrPortFrom(tp.ServerAddr.V6, web),
	} {
		checkEcho(t, mustDial(t, tp.Client, true, to))
	}
	for _, to := range tp.AggregatorAddr.each() {
		before := mustCount(t, tp.Cell.Link)
		sendUntil(t, mustDial(t, tp.Client, true, netip.AddrPortFrom(to, sink)), "the second path to carry 100 kB", func() bool {
			return mustCount(t, tp.Cell.Link).Sub(before).AToB >= 100_000
		})
	}
}

func mustCount(t *testing.T, k *Link) Counters {
	t.Helper()
	c, err := k.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
