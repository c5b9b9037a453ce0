// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

func TestNDiffPortsOnKernel(t *testing.T) {
	for _, source := range sources {
		for _, family := range []string{"IPv4", "IPv6"} {
			t.Run(source+"/"+family, func(t *testing.T) {
				w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
				from, to := w.WiFi.Addr.V4, w.AggregatorAddr.V4
				if family == "IPv6" {
					from, to = w.WiFi.Addr.V6, w.AggregatorAddr.V6
				}
				f := w.connect(w.listen(to), to, Policy{Manager: NDiffPorts{N: 3}}, Policy{})
				f.awaitSubflows(pair(from, to), pair(from, to), pair(from, to))
				f.move(f.client, f.server, 1<<20)
				for i, s := range state(t, w.client, f.clientToken).Subflows {
					want := ByPolicy
					if i == 0 {
						want = FirstSubflow
					}
					if s.Opened != want || s.Interface != "wifi" || s.RTT == 0 || s.Passive || s.Since.IsZero() {
						t.Errorf("%+v", s)
					}
				}
				if got := len(established(t, w.server, f.serverToken)); got != 3 {
					t.Errorf("server has %d subflows", got)
				}
			})
		}
	}
}

// TestFullMeshOnKernel: the client has two links, the aggregator up to two
// addresses, of both families.
func TestFullMeshOnKernel(t *testing.T) {
	for _, source := range sources {
		t.Run(source+"/2x1", func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
		})
		t.Run(source+"/2x2", func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			to, also := w.AggregatorAddr.V4, netip.MustParseAddr("192.0.2.2")
			if err := w.Aggregator.AddAddress("lo", netip.PrefixFrom(also, 32)); err != nil {
				t.Fatal(err)
			}
			mesh := FullMesh{Announce: []netip.AddrPort{netip.AddrPortFrom(also, 0)}}
			f := w.connect(w.listen(netip.IPv4Unspecified()), to, Policy{Manager: FullMesh{}}, Policy{Manager: mesh})
			wifi, cell := w.WiFi.Addr.V4, w.Cell.Addr.V4
			f.awaitSubflows(pair(wifi, to), pair(cell, to), pair(wifi, also), pair(cell, also))
			if n := w.server.Counters().Announced; n != 1 {
				t.Errorf("announced %d addresses", n)
			}
		})
		t.Run(source+"/dual stack", func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			to := w.AggregatorAddr
			mesh := FullMesh{Announce: []netip.AddrPort{netip.AddrPortFrom(to.V4, 0)}}
			f := w.connect(w.listen(netip.IPv6Unspecified()), to.V6, Policy{Manager: FullMesh{}}, Policy{Manager: mesh})
			f.awaitSubflows(pair(w.WiFi.Addr.V6, to.V6), pair(w.Cell.Addr.V6, to.V6), pair(w.WiFi.Addr.V4, to.V4), pair(w.Cell.Addr.V4, to.V4))
			f.move(f.client, f.server, 1<<20)
			f.move(f.server, f.client, 1<<20)
		})
		t.Run(source+"/several addresses on an interface", func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			to, also := w.AggregatorAddr.V4, netip.MustParseAddr("198.51.100.3")
			f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}, Interfaces: []string{"wifi"}}, Policy{})
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
			prefix := netip.PrefixFrom(also, 25)
			if err := w.Client.AddAddress("wifi", prefix); err != nil {
				t.Fatal(err)
			}
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(also, to))
			if err := w.Client.RemoveAddress("wifi", prefix); err != nil {
				t.Fatal(err)
			}
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
		})
	}
}

func TestDelayingOnKernel(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{}, Options{})
			to := w.AggregatorAddr.V4
			ln := w.listen(to)
			lots := Policy{Manager: Delaying{Bytes: 200_000}}
			short := w.connect(ln, to, lots, Policy{})
			short.move(short.client, short.server, 50_000)
			long := w.connect(ln, to, lots, Policy{})
			long.awaitSubflows(pair(w.WiFi.Addr.V4, to))
			long.move(long.client, long.server, 150_000)
			long.move(long.server, long.client, 150_000)
			long.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
			short.awaitSubflows(pair(w.WiFi.Addr.V4, to))
			if n := w.client.Counters().Opened[ByPolicy]; n != 1 {
				t.Errorf("%d subflows opened", n)
			}
		})
	}
	t.Run("time", func(t *testing.T) {
		w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
		to := w.AggregatorAddr.V4
		f := w.connect(w.listen(to), to, Policy{Manager: Delaying{After: 100 * time.Millisecond}}, Policy{})
		f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
		c := state(t, w.client, f.clientToken)
		if wait := c.Subflows[1].Since.Sub(c.Begun); wait < 100*time.Millisecond {
			t.Errorf("the second one came after %v", wait)
		}
	})
	t.Run("rate", func(t *testing.T) {
		w := newWorld(t, "netlink", lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 4e6}, Cell: lab.LinkSpec{Rate: 20e6}}, Options{})
		to := w.AggregatorAddr.V4
		f := w.connect(w.listen(to), to, Policy{Manager: Delaying{Below: 10e6}}, Policy{})
		wait := f.start(f.client, f.server, 3<<20)
		f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
		if err := wait(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRefreshingOnKernel resets subflows in the middle of a transfer.
func TestRefreshingOnKernel(t *testing.T) {
	for _, source := range sources {
		t.Run(source+"/killed", func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}}, Options{})
			from, to := w.WiFi.Addr.V4, w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: Refreshing{}}, Policy{})
			f.awaitSubflows(pair(from, to))
			wait := f.start(f.server, f.client, 4<<20)
			for n := uint64(1); n <= 3; n++ {
				before := state(t, w.client, f.clientToken).Subflows
				if len(before) != 1 {
					t.Fatalf("%+v", before)
				}
				run(t, w.Client, "ss", "-K", "src", before[0].LocalAddr().String())
				labtest.Await(t, patience, "another subflow", func() bool {
					s := state(t, w.client, f.clientToken).Subflows
					return len(s) == 1 && s[0].State == Established && s[0].Port != before[0].Port
				})
				f.awaitSubflows(pair(from, to))
			}
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			c := w.client.Counters()
			if n := c.Healed[ResetSent] + c.Healed[ResetReceived]; n != 3 {
				t.Errorf("%d subflows healed: %v, closed %v", n, c.Healed, c.Closed)
			}
			if past := state(t, w.client, f.clientToken).Past; len(past) != 3 || past[0].Opened != FirstSubflow || past[0].Received == 0 && source == "eBPF" {
				t.Errorf("past subflows: %+v", past)
			}
		})
	}
	t.Run("rejected", func(t *testing.T) {
		w := newWorld(t, "eBPF", lab.TwoPathSpec{Cell: lab.LinkSpec{Rate: 20e6}, WiFi: lab.LinkSpec{Rate: 20e6}}, Options{})
		to := w.AggregatorAddr.V4
		f := w.connect(w.listen(to), to, Policy{Manager: Refreshing{Over: FullMesh{}}}, Policy{})
		both := []string{pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)}
		f.awaitSubflows(both...)
		wait := f.start(f.client, f.server, 4<<20)
		nft(t, w.Aggregator, "iifname cell meta l4proto tcp reject with tcp reset")
		labtest.Await(t, patience, "failed attempts", func() bool { return w.client.Counters().Failed[ResetReceived] >= 2 })
		noRules(t, w.Aggregator)
		f.awaitSubflows(both...)
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		if c := w.client.Counters(); c.Healed[ResetReceived] == 0 || c.Closed[ResetReceived] == 0 {
			t.Errorf("healed %v, closed %v", c.Healed, c.Closed)
		}
	})
	t.Run("aged", func(t *testing.T) {
		w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
		from, to := w.WiFi.Addr.V4, w.AggregatorAddr.V4
		f := w.connect(w.listen(to), to, Policy{Manager: Refreshing{MaxAge: 300 * time.Millisecond}}, Policy{})
		wait := f.start(f.client, f.server, 1<<20)
		labtest.Await(t, patience, "three replacements", func() bool { return w.client.Counters().Closed[Replaced] >= 3 })
		f.awaitSubflows(pair(from, to))
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		f.move(f.client, f.server, 1<<20)
	})
}
