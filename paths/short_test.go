// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// BenchmarkShort is the bookkeeping for a connection that is opened and closed,
// without the kernel and without a wake-up: 40 come and go in turns, as when some
// 8,000 do in a second. Those that live longer end in the turn after that in which
// they began.
func BenchmarkShort(b *testing.B) {
	for name, longer := range map[string]bool{"within a turn": false, "in two turns": true} {
		b.Run(name, func(b *testing.B) {
			const each = 40
			e := newEngine(Options{})
			e.net = new(network)
			policy := new(Policy).WithDefaults()
			begins, ends := make([]bpf.Event, 0, 3*each), make([]bpf.Event, 0, 2*each)
			b.ReportAllocs()
			for token := uint32(1); b.Loop(); token++ {
				e.Adopt(token, policy, false)
				begun := shortEvent(bpf.Established, token)
				begun.Passive = true
				begins = append(begins, begun)
				closed := shortEvent(bpf.SubflowClosed, token)
				closed.Reason = bpf.FIN
				ends = append(ends, closed, bpf.Event{Kind: bpf.Closed, Token: token})
				if token%each > 0 {
					continue
				}
				if longer {
					e.take(begins)
					begins = begins[:0]
				}
				for before := range uint32(each) {
					e.Forget(token - before)
				}
				e.take(append(begins, ends...))
				e.advance(e.o.now())
				begins, ends = begins[:0], ends[:0]
			}
		})
	}
}

func shortEvent(kind bpf.Kind, token uint32) bpf.Event {
	return bpf.Event{
		Kind: kind, Token: token, Subflow: 1, BytesSent: 1000, BytesAcked: 1000, BytesReceived: 1000,
		Local:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 7000),
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 2}), uint16(token)),
	}
}

// TestLateNetlink: what netlink tells of a connection may come after the end of
// that. It is not held for long.
func TestLateNetlink(t *testing.T) {
	now := time.Now()
	e := newEngine(Options{Events: new(bpf.Events), now: func() time.Time { return now }})
	e.net = new(network)
	const token = 1
	e.take([]bpf.Event{shortEvent(bpf.Established, token), {Kind: bpf.Closed, Token: token}})
	e.netlinkEvent(pm.Established{Connection: pm.Connection{Token: token}}, now)
	if len(e.conns) != 1 {
		t.Fatalf("%d connections, want that which may be about to be told", len(e.conns))
	}
	now = now.Add(knownWithin)
	e.advance(now)
	if len(e.conns) != 0 || len(e.timers) != 0 || len(e.free) != 1 {
		t.Errorf("%d connections, %d timers, %d free records", len(e.conns), len(e.timers), len(e.free))
	}
}

// TestPassedBy: a connection that is forgotten before the event about its
// beginning was taken is counted and told, and leaves no record. One with the same
// token that is adopted after that is another one, of which the kernel is asked.
func TestPassedBy(t *testing.T) {
	e := newEngine(Options{})
	e.net = new(network)
	w := &watcher{notices: make(chan Notice, 10)}
	e.watchers[w] = struct{}{}
	const token = 1
	e.Adopt(token, &Policy{}, false)
	e.Forget(token)
	begun := shortEvent(bpf.Established, token)
	e.take([]bpf.Event{begun, shortEvent(bpf.SubflowClosed, token), {Kind: bpf.Closed, Token: token}})
	if len(e.conns) != 0 || len(e.free) != 0 || len(e.timers) != 0 || len(e.recent) != 0 {
		t.Errorf("%d connections, %d records, %d timers, %d unknown ones", len(e.conns), len(e.free), len(e.timers), len(e.recent))
	}
	if n := e.tallies.opened[FirstSubflow]; n != 1 {
		t.Errorf("%d first subflows", n)
	}
	if n := <-w.notices; n.Kind != NoticeOpened || n.Token != token || n.Subflow.LocalAddr() != begun.Local || n.Subflow.Opened != FirstSubflow {
		t.Errorf("%+v", n)
	}
	e.Adopt(token, &Policy{Name: "first"}, false)
	e.Forget(token)
	e.Adopt(token, &Policy{Name: "second"}, false)
	e.take([]bpf.Event{begun})
	if c := e.conns[token]; c == nil || !c.adopted || c.policy.Name != "second" || !slices.Equal(e.recent, []uint32{token}) {
		t.Errorf("%+v, unknown %x", c, e.recent)
	}
}
