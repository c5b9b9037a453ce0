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
			sendFor(t, c, 2*time.Second)
			dsl, lte := mustCount(t, home.DSL.Link), mustCount(t, home.LTE.Link)
			total := dsl.AToB + lte.AToB
			t.Logf("dsl %d bytes, lte %d bytes", dsl.AToB, lte.AToB)
			// 2 x 20 Mbit/s for 2 s are 10 MB.
			if total < 7e6 {
				t.Errorf("both links carried %d bytes, want at least 7 MB", total)
			}
			for name, n := range map[string]uint64{"dsl": dsl.AToB, "lte": lte.AToB} {
				if n < total*3/10 {
					t.Errorf("%s carried %d of %d bytes, want at least 30 %%", name, n, total)
				}
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
	sendFor(t, c, 500*time.Millisecond)
	if err := home.DSL.Down(); err != nil {
		t.Fatal(err)
	}
	before := mustCount(t, home.LTE.Link)
	sendFor(t, c, 2*time.Second)
	if n := mustCount(t, home.LTE.Link).Sub(before).AToB; n < 2_500_000 {
		t.Errorf("lte carried %d bytes in 2 s after the cut, want half of its 5 MB", n)
	}
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
	before := mustCount(t, tp.Cell.Link)
	for _, to := range tp.AggregatorAddr.each() {
		sendFor(t, mustDial(t, tp.Client, true, netip.AddrPortFrom(to, sink)), 300*time.Millisecond)
	}
	if n := mustCount(t, tp.Cell.Link).Sub(before).AToB; n < 100_000 {
		t.Errorf("the second path carried %d bytes of an MPTCP transfer", n)
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
