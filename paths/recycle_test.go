// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// TestRecycle has connections begin, change and end in any order, actions of
// theirs on the way. Whatever happens, records of those that have ended are
// nowhere but among the free ones.
func TestRecycle(t *testing.T) {
	needEngine(t)
	h, err := labtest.New(t).Host("a")
	if err != nil {
		t.Fatal(err)
	}
	own := netip.MustParseAddr("192.0.2.1")
	if err := h.AddAddress("lo", netip.PrefixFrom(own, 32)); err != nil {
		t.Fatal(err)
	}
	ns := netns.None()
	if err := h.Do(func() (err error) { ns, err = netns.Get(); return err }); err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	now := time.Now()
	e := newEngine(Options{NetNS: int(ns), now: func() time.Time { return now }})
	if err := e.open(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.settings.restore(); err != nil {
			t.Error(err)
		}
		if err := e.release(); err != nil {
			t.Error(err)
		}
	}()
	policies := []*Policy{{}, {Manager: NDiffPorts{N: 3}}, {Manager: Refreshing{}}, {Keep: -1}}
	random := rand.New(rand.NewPCG(1, 2))
	const tokens, steps = 20, 3000
	for range steps {
		token := 1 + random.Uint32N(tokens)
		switch now = now.Add(time.Duration(random.IntN(50)) * time.Millisecond); random.IntN(12) {
		case 0, 1:
			e.adopt(token, policies[random.IntN(len(policies))].WithDefaults(), random.IntN(2) == 0, now)
		case 2:
			e.forget(token)
		case 3, 4:
			e.take([]bpf.Event{recycled(bpf.Established, token, 1, own)})
		case 5, 6:
			e.netlinkEvent(pm.Established{Connection: pm.Connection{Token: token}}, now)
		case 7:
			e.take([]bpf.Event{recycled(bpf.Joined, token, 2+random.Uint32N(3), own)})
		case 8:
			e.take([]bpf.Event{recycled(bpf.SubflowClosed, token, 1+random.Uint32N(4), own)})
		case 9:
			e.take([]bpf.Event{{Kind: bpf.Closed, Token: token}})
		default:
			e.advance(now)
		}
		checkRecords(t, e)
	}
	if len(e.free) == 0 || len(e.counters.Refused) == 0 {
		t.Errorf("%d records are free, commands to the kernel: %v: nothing was shown", len(e.free), e.counters.Refused)
	}
}

func recycled(kind bpf.Kind, token, subflow uint32, own netip.Addr) bpf.Event {
	return bpf.Event{
		Kind: kind, Token: token, Subflow: subflow, Passive: kind == bpf.Joined,
		Local: netip.AddrPortFrom(own, uint16(1000*token+subflow)), Remote: netip.AddrPortFrom(own, 7000),
	}
}

// checkRecords fails if a record is in two places that exclude each other.
func checkRecords(t *testing.T, e *Engine) {
	t.Helper()
	free := make(map[*conn]bool)
	for _, c := range e.free {
		if free[c] {
			t.Fatalf("the record of %08x is free twice", c.Token)
		}
		free[c] = true
	}
	for token, c := range e.conns {
		if free[c] || c.dropped || c.Token != token {
			t.Fatalf("%08x has the record of %08x: free %t, dropped %t", token, c.Token, free[c], c.dropped)
		}
	}
	for i, c := range e.timers {
		if free[c] || e.conns[c.Token] != c || c.position != i {
			t.Fatalf("timer %d is that of %08x: free %t, position %d", i, c.Token, free[c], c.position)
		}
	}
	queued := make(map[*conn]bool)
	for _, c := range e.ready {
		if free[c] || !c.queued || queued[c] || !c.dropped && e.conns[c.Token] != c {
			t.Fatalf("%08x is ready: free %t, queued %t, twice %t, dropped %t", c.Token, free[c], c.queued, queued[c], c.dropped)
		}
		queued[c] = true
	}
}
