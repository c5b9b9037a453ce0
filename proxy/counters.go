// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// listenerCounters count what was done for the clients of a listener. A set
// belongs to one event loop, so that loops share no cache line; Server.Stats
// adds them up.
type listenerCounters struct {
	accepted atomic.Uint64
	active   atomic.Int64
	served   atomic.Uint64
	client   [mptcp.NumReasons]atomic.Uint64 // accepted ones by why they are not MPTCP; None are
	refused  [numReasons]atomic.Uint64
	traffic  [2]atomic.Uint64 // bytes delivered away from the ends of pairs
	options  optionCounters
	_        [64]byte
}

// optionCounters count what clients asked for, by option (0: one that there is
// not) and by what became of it.
type optionCounters struct {
	connections atomic.Uint64
	outcomes    [options.Count + 1][options.NumWhys]atomic.Uint64
}

// OptionStats count what clients asked for, by option and by what became of
// it; 0 stands for options that there are not.
type OptionStats [options.Count + 1][options.NumWhys]uint64

// UnknownOption is the name of options that there are not.
const UnknownOption = "unknown"

// All lists what was asked for by the name of the option, with the outcomes
// that there were.
func (s *OptionStats) All() iter.Seq2[string, map[options.Why]uint64] {
	return func(yield func(string, map[options.Why]uint64) bool) {
		for o := range s {
			reasons := map[options.Why]uint64{}
			for why, n := range s[o] {
				if n > 0 {
					reasons[options.Why(why)] = n
				}
			}
			name := UnknownOption
			if o > 0 {
				name = options.Option(o).String()
			}
			if len(reasons) > 0 && !yield(name, reasons) {
				return
			}
		}
	}
}

// hopCounters count the ways through a hop, likewise.
type hopCounters struct {
	reached  atomic.Uint64                   // ways that led to the server
	failed   [2]atomic.Uint64                // those that did not: because of the server, of the hop
	synData  atomic.Uint64                   // connections opened with data in the SYN
	fallback [mptcp.NumReasons]atomic.Uint64 // connections without MPTCP though asked
	took     histogram                       // of those that led to the server
	_        [64]byte
}

// DialBounds are the upper bounds of the buckets of HopStats.Took.
var DialBounds = []time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

const numDialBuckets = 14 // len(DialBounds) and one for what is longer

type histogram struct {
	buckets [numDialBuckets]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

func (h *histogram) add(d time.Duration) {
	i, _ := slices.BinarySearch(DialBounds, d)
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// named are sets of counters by name. One event loop adds to them, and anybody
// may read them.
type named[T any] struct{ sets atomic.Pointer[map[string]*T] }

// of returns the set with a name.
func (n *named[T]) of(name string) *T {
	var sets map[string]*T
	if p := n.sets.Load(); p != nil {
		sets = *p
	}
	if set := sets[name]; set != nil {
		return set
	}
	more := make(map[string]*T, len(sets)+1)
	maps.Copy(more, sets)
	more[name] = new(T)
	n.sets.Store(&more)
	return more[name]
}

func (n *named[T]) all() map[string]*T {
	if p := n.sets.Load(); p != nil {
		return *p
	}
	return nil
}

// Stats are what the proxy did since it was started.
type Stats struct {
	Accepted, Relayed, ClientMPTCP uint64
	Up, Down                       uint64 // bytes delivered to servers and to clients
	Active                         int64
	Refused                        map[string]uint64
	Fallback                       map[string]uint64 // legs towards servers without MPTCP though asked, by mptcp.FallbackReason
	Options                        OptionStats

	Listeners map[string]*ListenerStats
	Hops      map[string]*HopStats
	Networks  map[string]NetworkStats // by access network; empty unless these are told apart

	Loops    int
	Starving bool   // new connections wait, for want of descriptors or memory
	Waiting  int64  // accepted ones that wait for a descriptor
	Pauses   uint64 // times that an event loop stopped accepting for that
}

// ListenerStats are what was done for the clients of a listener.
type ListenerStats struct {
	Accepted, Served, Up, Down uint64
	Active                     int64
	MPTCP                      uint64            // accepted with MPTCP
	TCP                        map[string]uint64 // accepted without, by mptcp.FallbackReason
	Refused                    map[string]uint64 // by Reason

	OptionsAsked uint64      // connections whose client asked for options
	Options      OptionStats // what for
}

// NetworkStats are the bytes of payload that an access network has carried.
type NetworkStats struct{ Up, Down uint64 }

// HopStats are the ways through a hop.
type HopStats struct {
	Reached      uint64            // the server
	FailedServer uint64            // could not reach the server
	FailedHop    uint64            // could not reach, or was refused by, the hop
	SYNData      uint64            // connections opened with data in the SYN
	Fallback     map[string]uint64 // connections without MPTCP though asked, by mptcp.FallbackReason

	// Took counts those of Reached by how long they took, up to the DialBounds
	// and beyond; TookSum is how long all of them did.
	Took    [numDialBuckets]uint64
	TookSum time.Duration
}

// Stats adds up the counters of all event loops.
func (s *Server) Stats() Stats {
	t := Stats{
		Refused: map[string]uint64{}, Fallback: map[string]uint64{},
		Listeners: map[string]*ListenerStats{}, Hops: map[string]*HopStats{}, Networks: map[string]NetworkStats{},
		Loops: len(s.workers), Starving: s.hunger.since.Load(), Waiting: s.hunger.waiting.Load(),
	}
	for _, w := range s.workers {
		t.Active += w.active.Load()
		t.Pauses += w.pauses.Load()
		for name, c := range w.listeners.all() {
			l := t.Listeners[name]
			if l == nil {
				l = &ListenerStats{TCP: map[string]uint64{}, Refused: map[string]uint64{}}
				t.Listeners[name] = l
			}
			l.add(c)
		}
		for name, c := range w.networks.all() {
			n := t.Networks[name]
			t.Networks[name] = NetworkStats{n.Up + c.up.Load(), n.Down + c.down.Load()}
		}
		for name, c := range w.hops.all() {
			h := t.Hops[name]
			if h == nil {
				h = &HopStats{Fallback: map[string]uint64{}}
				t.Hops[name] = h
			}
			h.add(c)
		}
	}
	for _, l := range t.Listeners {
		t.Accepted += l.Accepted
		t.Relayed += l.Served
		t.ClientMPTCP += l.MPTCP
		t.Up += l.Up
		t.Down += l.Down
		addAll(t.Refused, l.Refused)
		for o := range l.Options {
			for why, n := range l.Options[o] {
				t.Options[o][why] += n
			}
		}
	}
	for _, h := range t.Hops {
		addAll(t.Fallback, h.Fallback)
	}
	return t
}

func (l *ListenerStats) add(c *listenerCounters) {
	l.Accepted += c.accepted.Load()
	l.Active += c.active.Load()
	l.Served += c.served.Load()
	l.Up += c.traffic[relay.Client].Load()
	l.Down += c.traffic[relay.Server].Load()
	l.MPTCP += c.client[mptcp.None].Load()
	l.OptionsAsked += c.options.connections.Load()
	for o := range l.Options {
		for why := range l.Options[o] {
			l.Options[o][why] += c.options.outcomes[o][why].Load()
		}
	}
	for r := mptcp.None + 1; int(r) < mptcp.NumReasons; r++ {
		count(l.TCP, r.String, &c.client[r])
	}
	for r := range numReasons {
		count(l.Refused, r.String, &c.refused[r])
	}
}

func (h *HopStats) add(c *hopCounters) {
	h.Reached += c.reached.Load()
	h.FailedServer += c.failed[0].Load()
	h.FailedHop += c.failed[1].Load()
	h.SYNData += c.synData.Load()
	for r := range mptcp.FallbackReason(mptcp.NumReasons) {
		count(h.Fallback, r.String, &c.fallback[r])
	}
	for i := range h.Took {
		h.Took[i] += c.took.buckets[i].Load()
	}
	h.TookSum += time.Duration(c.took.sum.Load())
}

// count adds a counter to a sum by name. What never happened is left out.
func count(sums map[string]uint64, name func() string, c *atomic.Uint64) {
	if n := c.Load(); n > 0 {
		sums[name()] += n
	}
}

func addAll(sums, more map[string]uint64) {
	for name, n := range more {
		sums[name] += n
	}
}
