// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab/emulator"
	"github.com/tandem-gateway/tandem/bench/serving"
)

func TestEmulatedLinkRate(t *testing.T) {
	t.Parallel()
	a, b, k := pair(t, newLab(t, "emurate"), LinkSpec{Rate: 50e6, Delay: 5 * time.Millisecond})
	toB := mustDial(t, a, false, netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), listen(t, b, ":0", discard).Port()))
	checkRate(t, "first", toB, func() uint64 { return mustCount(t, k).AToB }, 50e6)
	if err := k.SetRate(10e6); err != nil {
		t.Fatal(err)
	}
	toA := mustDial(t, b, false, netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), listen(t, a, ":0", discard).Port()))
	checkRate(t, "lowered, other way", toA, func() uint64 { return mustCount(t, k).BToA }, 10e6)
}

// TestEmulatedLinkFollowsChanges changes every condition under traffic.
func TestEmulatedLinkFollowsChanges(t *testing.T) {
	t.Parallel()
	a, b, k := pair(t, newLab(t, "emuchange"), LinkSpec{Emulate: true})
	c := mustDial(t, a, false, netip.AddrPortFrom(netip.MustParseAddr("2001:db8::2"), listen(t, b, ":0", serving.Echo).Port()))
	checkEcho(t, c)
	if err := k.SetDelay(40 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	checkEcho(t, c)
	if d := time.Since(start); d < 80*time.Millisecond {
		t.Errorf("an echo took %v over 2 x 40 ms", d)
	}
	if err := k.SetLoss(emulator.RandomLoss(1)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "into the void")
	deadline, lost := time.Now().Add(5*time.Second), uint64(0)
	for lost == 0 && time.Now().Before(deadline) {
		aToB, _, err := k.Stats()
		if err != nil {
			t.Fatal(err)
		}
		lost = aToB.DroppedLoss
		runtime.Gosched()
	}
	if lost == 0 {
		t.Fatal("a dead link lost nothing")
	}
	if err := k.SetLoss(emulator.Loss{}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("into the void"))
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("after the loss: %v", err)
	}
	if err := k.SetJitter(time.Second); err == nil {
		t.Error("a jitter above the delay was accepted")
	}
}

func TestEmulatedLinkDownUp(t *testing.T) {
	t.Parallel()
	a, b, k := pair(t, newLab(t, "emudown"), LinkSpec{Delay: time.Millisecond})
	to := netip.AddrPortFrom(netip.MustParseAddr("2001:db8::2"), listen(t, b, ":0", serving.Echo).Port())
	for range 2 {
		c := mustDial(t, a, false, to)
		checkEcho(t, c)
		if err := k.Down(); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(t, a, false, to); err == nil {
			t.Error("connected over a link that is down")
		}
		if err := k.Up(); err != nil {
			t.Fatal(err)
		}
		checkEcho(t, c)
	}
}

func TestVethIsNotEmulated(t *testing.T) {
	_, _, k := pair(t, newLab(t, "emunot"), LinkSpec{})
	if err := k.SetDelay(time.Millisecond); err == nil {
		t.Error("a veth pair took a delay")
	}
}
