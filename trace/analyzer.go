// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// Options bound what an [Analyzer] keeps.
type Options struct {
	// Idle is after how long without a segment a connection counts as over.
	Idle time.Duration
	// Live is how many connections are followed at once, plain TCP included;
	// beyond that those that were idle for longest are given up.
	Live int
}

// Defaults are the usual bounds: an hour, and a million connections.
func Defaults() Options { return Options{Idle: time.Hour, Live: 1 << 20} }

// Times after which things are over. Linux sends a SYN for about two minutes
// (net.ipv4.tcp_syn_retries), and keeps a connection without subflows for one
// (net.mptcp.close_timeout); late segments may come for another one.
const (
	attemptTime = 130 * time.Second
	lonelyTime  = 60 * time.Second
	lingerTime  = 60 * time.Second
)

// Counts are what an [Analyzer] has seen besides the connections that it gave
// away.
type Counts struct {
	// TCP are connections whose first SYN did not ask for MPTCP, with the bytes
	// that they carried, each time they were seen.
	TCP      uint64 `json:"tcp"`
	TCPBytes uint64 `json:"tcp_bytes"`
	// MPTCP are those that asked for it: see [Connection].
	MPTCP uint64 `json:"mptcp"`
	// Headless are TCP connections whose SYN is not in the capture, and
	// HeadlessMPTCP those of them that carry MPTCP options.
	Headless      uint64 `json:"headless"`
	HeadlessMPTCP uint64 `json:"headless_mptcp"`
	// Strays are SYNs of subflows whose connection is not in the capture.
	Strays uint64 `json:"stray_joins"`
	// Malformed are MPTCP options that are not well-formed, or unknown.
	Malformed uint64 `json:"malformed_options,omitempty"`
	// Doubted are RSTs that are out of place, which receivers do not believe
	// (RFC 5961, section 3.2).
	Doubted uint64 `json:"doubted_resets,omitempty"`
	Evicted uint64 `json:"evicted,omitempty"` // from a full table
}

// Analyzer follows connections. It is not for concurrent use.
type Analyzer struct {
	options Options
	emit    func(*Connection)
	counts  Counts

	flows  map[flowKey]*flow
	tokens map[uint32][]owner
	// Lists of connections, the least recently touched first.
	attempts, live, lonely, lingering list

	now    instant
	swept  instant
	random *rand.Rand // that of reservoirs: the same capture gives the same result
}

// owner is the side of a connection that has chosen a token.
type owner struct {
	conn *conn
	side side
}

// New makes an analyzer, which calls emit with each connection that is over.
func New(o Options, emit func(*Connection)) *Analyzer {
	return &Analyzer{
		options: o, emit: emit,
		flows: map[flowKey]*flow{}, tokens: map[uint32][]owner{},
		random: rand.New(rand.NewPCG(1, 2)),
	}
}

// Counts are what was seen so far.
func (a *Analyzer) Counts() Counts { return a.counts }

// Live is how many connections are followed now.
func (a *Analyzer) Live() int { return a.attempts.n + a.live.n + a.lonely.n }

// Close ends all connections that are followed.
func (a *Analyzer) Close() {
	for _, l := range a.lists() {
		for l.front != nil {
			how := StillOpen
			if l == &a.lonely {
				how = l.front.lastEnding()
			}
			a.end(l.front, how)
		}
	}
}

func (a *Analyzer) lists() []*list { return []*list{&a.attempts, &a.live, &a.lonely} }

// Segment takes the next segment of the capture; it keeps nothing of it.
func (a *Analyzer) Segment(s *packet.Segment) {
	a.now = instant(s.Time.UnixNano())
	if a.now.since(a.swept) >= time.Second || a.now < a.swept {
		a.sweep()
	}
	key, swapped := keyOf(s.Src, s.Dst)
	f := a.flows[key]
	if s.IsSYN() {
		a.syn(f, key, swapped, s)
		return
	}
	if f == nil {
		f = a.open(key, swapped, s, headless)
		a.counts.Headless++
		a.touch(f.conn, &a.live)
	}
	c := f.conn
	if c.kind == over {
		return
	}
	c.last = a.now
	from := f.from(swapped)
	if c.list == &a.attempts && (from != client || s.Flags&packet.RST == 0) {
		a.touch(c, &a.live)
	} else if a.now.since(c.touched) >= time.Second {
		a.touch(c, c.list)
	}
	if c.kind == multipath {
		a.follow(f, from, s)
		return
	}
	a.skim(f, from, s)
}

// skim takes a segment of a connection that is not analyzed.
func (a *Analyzer) skim(f *flow, from side, s *packet.Segment) {
	switch c := f.conn; c.kind {
	case plain:
		a.counts.TCPBytes += uint64(s.Len)
	case headless:
		if _, is := s.Options.Find(wire.Kind); is && !c.headlessMPTCP {
			c.headlessMPTCP = true
			a.counts.HeadlessMPTCP++
		}
	}
	if s.Flags&packet.FIN != 0 {
		f.fins[from] = true
	}
	if f.fins == [2]bool{true, true} || s.Flags&packet.RST != 0 {
		a.end(f.conn, TCPFIN)
	}
}

// syn takes the first segment of a connection or subflow, or one like it.
func (a *Analyzer) syn(f *flow, key flowKey, swapped bool, s *packet.Segment) {
	if f != nil && f.synced && f.isn == s.Seq && f.from(swapped) == client {
		if f.conn.kind != over {
			f.conn.last = a.now
		}
		if f.sub != nil {
			f.sub.synAgain(s)
		}
		return
	}
	if f != nil {
		a.replace(f)
	}
	if data, is := s.Options.MPTCP(wire.MPCapable); is {
		if capable, ok := wire.ParseCapable(data); ok {
			a.openMultipath(key, swapped, s, capable)
			return
		}
		a.counts.Malformed++
	}
	if data, is := s.Options.MPTCP(wire.MPJoin); is {
		if join, ok := wire.ParseJoin(data); ok && join.Step == wire.JoinSYN {
			if c := a.joined(join.Token, s.Dst.Addr()); c != nil {
				a.openSubflow(c, key, swapped, s, join)
				return
			}
			a.counts.Strays++
			a.touch(a.open(key, swapped, s, stray).conn, &a.attempts)
			return
		}
		a.counts.Malformed++
	}
	a.counts.TCP++
	a.counts.TCPBytes += uint64(s.Len)
	a.touch(a.open(key, swapped, s, plain).conn, &a.attempts)
}

// open makes a connection with a flow.
func (a *Analyzer) open(key flowKey, swapped bool, s *packet.Segment, k kind) *flow {
	return a.addFlow(&conn{kind: k, start: a.now, last: a.now}, key, swapped, s)
}

// addFlow adds a flow to a connection.
func (a *Analyzer) addFlow(c *conn, key flowKey, swapped bool, s *packet.Segment) *flow {
	f := &flow{key: key, swapped: swapped, synced: s.IsSYN(), isn: s.Seq, conn: c}
	c.flows = append(c.flows, f)
	a.flows[key] = f
	return f
}

// joined finds the connection that a token names, preferring one that has the
// address where the subflow goes to: tokens are unique at one host only.
func (a *Analyzer) joined(token uint32, to netip.Addr) *conn {
	owners := a.tokens[token]
	for _, o := range owners {
		if o.conn.has(o.side, to) {
			return o.conn
		}
	}
	if len(owners) > 0 {
		return owners[len(owners)-1].conn
	}
	return nil
}

// register makes a token name a connection.
func (a *Analyzer) register(c *conn, s side, token uint32) {
	a.tokens[token] = append(a.tokens[token], owner{c, s})
}

func (a *Analyzer) unregister(c *conn, token uint32) {
	owners := slices.DeleteFunc(a.tokens[token], func(o owner) bool { return o.conn == c })
	if len(owners) == 0 {
		delete(a.tokens, token)
		return
	}
	a.tokens[token] = owners
}

// replace ends the connection of a flow whose addresses and ports are used
// again, or only the flow if the connection has others.
func (a *Analyzer) replace(f *flow) {
	c := f.conn
	if c.kind == over {
		return
	}
	if c.kind == multipath && len(c.flows) > 1 {
		if f.sub.close.How == NotClosed {
			f.sub.replaced = true
			a.settle(c)
		}
		return
	}
	a.end(c, Replaced)
}

// sweep ends what is over for the time that has passed.
func (a *Analyzer) sweep() {
	a.swept = a.now
	for _, l := range []struct {
		*list
		after time.Duration
	}{{&a.attempts, attemptTime}, {&a.live, a.options.Idle}, {&a.lonely, lonelyTime}} {
		for l.front != nil && a.now.since(l.front.touched) >= l.after {
			c := l.front
			if l.list == &a.lonely {
				a.end(c, c.lastEnding())
			} else {
				a.end(c, Idle)
			}
		}
	}
	for c := a.lingering.front; c != nil && a.now.since(c.touched) >= lingerTime; c = a.lingering.front {
		a.forget(c)
	}
}

// forget drops what is left of a connection that has ended.
func (a *Analyzer) forget(c *conn) {
	c.list.remove(c)
	for _, f := range c.flows {
		if a.flows[f.key] == f {
			delete(a.flows, f.key)
		}
	}
}

// touch puts a connection at the end of a list.
func (a *Analyzer) touch(c *conn, l *list) {
	isNew := c.list == nil
	if !isNew {
		c.list.remove(c)
	}
	c.touched = a.now
	l.append(c)
	if isNew && a.Live() > a.options.Live {
		a.evict()
	}
}

// evict gives up the connection that was idle for longest.
func (a *Analyzer) evict() {
	var oldest *conn
	for _, l := range a.lists() {
		if l.front != nil && (oldest == nil || l.front.touched < oldest.touched) {
			oldest = l.front
		}
	}
	a.counts.Evicted++
	a.end(oldest, Evicted)
}

// end gives a connection away; what may still come of it is ignored for a while.
func (a *Analyzer) end(c *conn, how Ending) {
	if c.kind == multipath {
		for s := range c.mp.data {
			if t := c.mp.tokens[s]; c.mp.data[s].known {
				a.unregister(c, t)
			}
		}
		a.emit(c.record(how))
	}
	c.kind, c.mp = over, nil
	for _, f := range c.flows {
		f.sub = nil
	}
	c.list.remove(c)
	c.touched = a.now
	a.lingering.append(c)
	if how == Evicted || how == StillOpen {
		a.forget(c)
	} else if a.lingering.n > a.options.Live {
		a.forget(a.lingering.front)
	}
}
