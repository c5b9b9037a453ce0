// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/serving"
)

func TestLinkConnectivity(t *testing.T) {
	a, b, _ := pair(t, newLab(t, "linkconn"), LinkSpec{MTU: 1400})
	port := listen(t, b, ":0", serving.Echo).Port()
	for _, addr := range []string{"198.51.100.2", "2001:db8::2"} {
		c := mustDial(t, a, false, netip.AddrPortFrom(netip.MustParseAddr(addr), port))
		checkEcho(t, c)
	}
	for _, h := range []*Host{a, b} {
		link, err := h.nl.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		if mtu := link.Attrs().MTU; mtu != 1400 {
			t.Errorf("MTU of %s is %d, want 1400", h.Name(), mtu)
		}
	}
}

// TestLinkRate measures both directions, and a change of the rate on the way.
func TestLinkRate(t *testing.T) {
	t.Parallel()
	a, b, k := pair(t, newLab(t, "linkrate"), LinkSpec{Rate: 50e6})
	toB := mustDial(t, a, false, netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), listen(t, b, ":0", discard).Port()))
	checkRate(t, "first", toB, func() uint64 { return mustCount(t, k).AToB }, 50e6)
	if err := k.SetRate(10e6); err != nil {
		t.Fatal(err)
	}
	toA := mustDial(t, b, false, netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), listen(t, a, ":0", discard).Port()))
	checkRate(t, "lowered, other way", toA, func() uint64 { return mustCount(t, k).BToA }, 10e6)
	if err := k.SetRate(0); err != nil {
		t.Fatal(err)
	}
	// How much more than any limit from before depends on the machine.
	sendUntil(t, toB, "more than 60 Mbit/s without a limit", func() bool {
		before, start := mustCount(t, k).AToB, time.Now()
		sendFor(t, toB, 300*time.Millisecond)
		return float64(mustCount(t, k).AToB-before)*8/time.Since(start).Seconds() > 60e6
	})
}

// checkRate wants the rate within 10 % over a second, after the queue has been
// filled: of several seconds one, as the machine may be too busy to send.
func checkRate(t *testing.T, name string, c net.Conn, count func() uint64, want float64) {
	t.Helper()
	sendFor(t, c, 300*time.Millisecond)
	sendUntil(t, c, fmt.Sprintf("%s: %.0f bit/s within 10 %%", name, want), func() bool {
		before, start := count(), time.Now()
		sendFor(t, c, time.Second)
		got := float64(count()-before) * 8 / time.Since(start).Seconds()
		t.Logf("%s: %.2f Mbit/s", name, got/1e6)
		return got > want*0.9 && got < want*1.1
	})
}

func TestLinkRefusesImpossibleRate(t *testing.T) {
	_, _, k := pair(t, newLab(t, "linkbad"), LinkSpec{})
	for _, rate := range []uint64{1, minRate - 1, maxRate + 1} {
		if err := k.SetRate(rate); err == nil {
			t.Errorf("rate %d accepted", rate)
		}
	}
}

func TestLinkCounters(t *testing.T) {
	a, b, k := pair(t, newLab(t, "linkcount"), LinkSpec{})
	const size = 1 << 20
	received := make(chan struct{})
	port := listen(t, b, ":0", func(c net.Conn) { discard(c); close(received) }).Port()
	c := mustDial(t, a, false, netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), port))
	before := mustCount(t, k)
	if _, err := c.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	<-received
	got := mustCount(t, k).Sub(before)
	if got.AToB < size || got.AToB > size*11/10 {
		t.Errorf("A to B %d bytes, want %d and at most 10 %% for headers", got.AToB, size)
	}
	if got.BToA == 0 || got.BToA > size/10 {
		t.Errorf("B to A %d bytes, want acknowledgements only", got.BToA)
	}
	if got.Total() != got.AToB+got.BToA {
		t.Errorf("total %d of %+v", got.Total(), got)
	}
}

func TestLinkDownUp(t *testing.T) {
	a, b, k := pair(t, newLab(t, "linkdown"), LinkSpec{})
	far := Dual{V4: netip.MustParseAddr("192.0.2.9"), V6: netip.MustParseAddr("2001:db8:9::9")}
	near := Dual{V4: netip.MustParseAddr("198.51.100.2"), V6: netip.MustParseAddr("2001:db8::2")}
	for i, addr := range far.each() {
		if err := b.AddAddress("lo", single(addr)); err != nil {
			t.Fatal(err)
		}
		// One route in main, and one that only a rule's table knows.
		via := near.each()[i]
		if err := a.AddRoute(Route{Dst: single(addr), Via: via, Dev: "eth0"}); err != nil {
			t.Fatal(err)
		}
		if err := a.AddRoute(Route{Dst: anywhere(addr), Via: via, Dev: "eth0", Table: 77}); err != nil {
			t.Fatal(err)
		}
	}
	port := listen(t, b, ":0", serving.Echo).Port()
	routes := func() string {
		out, err := exec.Command("ip", "-n", a.Namespace(), "route", "show", "table", "all").Output()
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, " via ") {
				kept = append(kept, strings.TrimSpace(line))
			}
		}
		return strings.Join(kept, "\n")
	}
	before := routes()
	for range 2 {
		if err := k.Down(); err != nil {
			t.Fatal(err)
		}
		for _, addr := range far.each() {
			if _, err := dial(t, a, false, netip.AddrPortFrom(addr, port)); err == nil {
				t.Errorf("%s answers over a link that is down", addr)
			}
		}
		if err := k.Up(); err != nil {
			t.Fatal(err)
		}
		for _, addr := range far.each() {
			checkEcho(t, mustDial(t, a, false, netip.AddrPortFrom(addr, port)))
		}
		if after := routes(); after != before {
			t.Errorf("routes were\n%s\nand came back as\n%s", before, after)
		}
	}
	if n := strings.Count(before, "table 77"); n != 2 {
		t.Errorf("table 77 has %d routes in\n%s", n, before)
	}
}
