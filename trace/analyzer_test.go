// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

const (
	wifi   = "198.51.100.2:40000"
	cell   = "[2001:db8:e::2]:40001"
	server = "192.0.2.1:443"
	other  = "[2001:db8::1]:443"
)

// only is the only connection.
func only(t *testing.T, all analyzed) *trace.Connection {
	t.Helper()
	if len(all.connections) != 1 {
		t.Fatalf("%d connections, %+v", len(all.connections), all.counts)
	}
	return all.connections[0]
}

// TestTwoSubflows follows every byte of a connection of each version.
func TestTwoSubflows(t *testing.T) {
	for version := range uint8(2) {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			c := newConversation(version)
			first, second := c.line(wifi, server), c.line(cell, other)
			c.open(first)
			up := func(ack uint64) []byte { return c.dss(clientSide, ack, 0, 0, -1, false) }
			first.send(clientSide, packet.ACK, 100, c.dss(clientSide, 0, 1, 0, 100, false))
			first.send(serverSide, packet.ACK, 0, c.dss(serverSide, 100, 0, 0, -1, false))
			address := netip.MustParseAddrPort(other).Addr().As16()
			announced := append([]byte{byte(wire.AddAddr) << 4, 5}, append(address[:], make([]byte, 8)...)...)
			if version == 0 {
				announced = append([]byte{byte(wire.AddAddr)<<4 | 6, 5}, address[:]...)
			}
			for range 2 {
				first.send(serverSide, packet.ACK, 0, announced)
			}
			c.after(50 * time.Millisecond)
			c.openJoin(second)
			// One mapping for two segments, the second of which comes twice.
			first.send(serverSide, packet.ACK, 1000, c.dss(serverSide, 100, 1, 0, 2000, false))
			first.send(serverSide, packet.ACK, 1000, c.dss(serverSide, 100, 1, 0, 2000, false))
			first.again(serverSide, first.next[serverSide]-1000, packet.ACK, 1000)
			first.send(clientSide, packet.ACK, 0, up(2000))
			// The second subflow carries the last 500 of them again, and 500 more,
			// the later half first.
			seq := second.next[serverSide]
			second.again(serverSide, seq+500, packet.ACK, 500, c.dss(serverSide, 100, 501, 2000, 500, false))
			second.again(serverSide, seq, packet.ACK, 500, c.dss(serverSide, 100, 1, 1500, 500, false))
			second.next[serverSide] += 1000
			second.send(clientSide, packet.ACK, 0, up(2500))
			second.send(clientSide, packet.ACK, 0, []byte{byte(wire.MPPrio)<<4 | 1})
			first.send(serverSide, packet.ACK, 0, c.dss(serverSide, 100, 0, 2500, 0, true))
			first.send(clientSide, packet.ACK, 0, c.dss(clientSide, 2501, 0, 100, 0, true))
			for range 2 {
				second.send(clientSide, packet.ACK, 0, []byte{byte(wire.RemoveAddr) << 4, 2})
			}
			first.end(serverSide)
			second.end(clientSide)
			all := told(trace.Defaults(), c.all)
			x := only(t, all)
			if x.Outcome != trace.Multipath || x.Ending != trace.DataFIN || x.Version != version || x.Fallback != "" {
				t.Errorf("%s, %s, version %d", x.Outcome, x.Ending, x.Version)
			}
			token, _ := wire.Derive(version, c.keys[serverSide])
			if uint32(x.ServerToken) != token || x.ClientToken == 0 {
				t.Errorf("tokens %08x %08x", x.ClientToken, x.ServerToken)
			}
			if x.Up.Bytes != 100 || x.Down.Bytes != 2500 || x.Down.Reinjected != 500 || x.Down.Retransmitted != 1000 ||
				x.Down.Missing+x.Up.Missing+x.Down.Unmapped+x.Up.Unmapped != 0 || !x.Up.Ended || !x.Down.Ended || x.Up.RTT.Samples != 1 {
				t.Errorf("up %+v, down %+v", x.Up, x.Down)
			}
			if len(x.Subflows) != 2 || len(x.Announced) != 1 || x.Announced[0].ID != 5 || len(x.Removed) != 1 || x.Removed[0].ID != 2 {
				t.Fatalf("%+v", x)
			}
			a, b := x.Subflows[0], x.Subflows[1]
			if a.Down.Bytes != 2000 || a.Up.Bytes != 100 || a.Down.Retransmitted != 1000 || a.Join != 0 || a.Close.How != trace.ByFIN || a.Close.By != "server" {
				t.Errorf("first %+v", a)
			}
			if b.Down.Bytes != 1000 || b.Down.Reinjected != 500 || b.Down.Late != 500 || b.Join != trace.Millis(57*time.Millisecond) ||
				b.Handshake != trace.Millis(2*time.Millisecond) || b.Opening != trace.Established || b.ClientID != 2 || b.OpenedBy != "client" {
				t.Errorf("second %+v", b)
			}
			if b.Priorities != 1 || b.BackupLater == nil || !*b.BackupLater || b.Backup {
				t.Errorf("priorities of second %+v", b)
			}
			if c := all.counts; c.MPTCP != 1 || c.TCP+c.Headless+c.Strays+c.Malformed+c.Doubted != 0 {
				t.Errorf("%+v", c)
			}
			testJSON(t, x)
		})
	}
}

// testJSON writes a connection and reads it again.
func testJSON(t *testing.T, c *trace.Connection) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again trace.Connection
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if twice, err := json.Marshal(again); err != nil || string(twice) != string(text) {
		t.Errorf("%v, written again\n%s\nfirst\n%s", err, twice, text)
	}
}

func TestFallbacks(t *testing.T) {
	// data makes a transfer without options.
	data := func(l *line) {
		l.send(clientSide, packet.ACK, 100)
		for range 10 {
			l.send(serverSide, packet.ACK, 300)
			l.send(clientSide, packet.ACK, 0)
		}
		l.end(clientSide)
	}
	for name, tt := range map[string]struct {
		make     func(c *conversation, l *line)
		want     trace.Reason
		up, down uint64
	}{
		"SYN-ACK": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.send(serverSide, packet.SYN|packet.ACK, 0)
			l.send(clientSide, packet.ACK, 0)
			data(l)
		}, trace.NoCapableSYNACK, 100, 3000},
		"SYN": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.again(clientSide, l.next[clientSide]-1, packet.SYN, 0)
			l.send(serverSide, packet.SYN|packet.ACK, 0)
			l.send(clientSide, packet.ACK, 0)
			data(l)
		}, trace.PlainSYN, 100, 3000},
		"ACK": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.send(serverSide, packet.SYN|packet.ACK, 0, c.capable(serverSide))
			l.send(clientSide, packet.ACK, 0)
			data(l)
		}, trace.NoCapableACK, 100, 3000},
		"no DSS": {func(c *conversation, l *line) {
			c.open(l)
			data(l)
		}, trace.NoSignal, 100, 3000},
		"no DSS, short": {func(c *conversation, l *line) {
			c.open(l)
			l.send(serverSide, packet.ACK, 50)
			l.end(clientSide)
		}, trace.NoSignal, 0, 50},
		"DSS ceases": {func(c *conversation, l *line) {
			c.open(l)
			l.send(clientSide, packet.ACK, 10, c.dss(clientSide, 0, 1, 0, 10, false))
			l.send(serverSide, packet.ACK, 20, c.dss(serverSide, 10, 1, 0, 20, false))
			data(l)
		}, trace.SignalCeased, 110, 3020},
		"infinite mapping": {func(c *conversation, l *line) {
			c.open(l)
			l.send(clientSide, packet.ACK, 10, c.dss(clientSide, 0, 1, 0, 10, false))
			l.send(serverSide, packet.ACK, 20, c.dss(serverSide, 10, 1, 0, 0, false))
			data(l)
		}, trace.InfiniteMapping, 110, 3020},
		"MP_FAIL": {func(c *conversation, l *line) {
			c.open(l)
			l.send(clientSide, packet.ACK, 10, c.dss(clientSide, 0, 1, 0, 10, false))
			l.send(serverSide, packet.ACK, 0, append([]byte{byte(wire.MPFail) << 4, 0}, make([]byte, 8)...))
			l.send(clientSide, packet.ACK, 0, c.dss(clientSide, 0, 11, 10, 0, false))
			data(l)
		}, trace.ChecksumFailed, 110, 3000},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConversation(1)
			tt.make(c, c.line(wifi, server))
			x := only(t, told(trace.Defaults(), c.all))
			if x.Outcome != trace.FellBack || x.Fallback != tt.want || x.Ending != trace.TCPFIN {
				t.Errorf("%s %q, %s", x.Outcome, x.Fallback, x.Ending)
			}
			if x.Up.Bytes != tt.up || x.Down.Bytes != tt.down || x.Up.Unmapped+x.Down.Unmapped+x.Up.Retransmitted+x.Down.Retransmitted != 0 {
				t.Errorf("up %+v, down %+v", x.Up, x.Down)
			}
		})
	}
}

// useAgain begins another connection with the addresses and ports of a line.
func useAgain(l *line) {
	l.again(clientSide, l.next[clientSide]+5000, packet.SYN, 0)
}

func TestEndings(t *testing.T) {
	reset := func(l *line, from int, options ...[]byte) { l.send(from, packet.RST|packet.ACK, 0, options...) }
	reason := []byte{byte(wire.MPTCPRst)<<4 | 1, 2}
	fastClose := append([]byte{byte(wire.MPFastClose) << 4, 0}, make([]byte, 8)...)
	for name, tt := range map[string]struct {
		make    func(c *conversation, l *line)
		outcome trace.Outcome
		ending  trace.Ending
		close   trace.Close // of the first subflow
	}{
		"refused": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.send(serverSide, packet.RST|packet.ACK, 0)
		}, trace.Refused, trace.TCPReset, trace.Close{How: trace.ByReset, By: "server"}},
		"unanswered": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.again(clientSide, l.next[clientSide]-1, packet.SYN, 0, c.capable())
			c.after(3 * time.Minute)
		}, trace.Unanswered, trace.Idle, trace.Close{How: trace.NotClosed}},
		"aborted": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.send(serverSide, packet.SYN|packet.ACK, 0, c.capable(serverSide))
			l.send(clientSide, packet.RST, 0)
		}, trace.Aborted, trace.TCPReset, trace.Close{How: trace.ByReset, By: "client"}},
		"without SYN-ACK": {func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.capable())
			l.next[serverSide]++
			l.send(clientSide, packet.ACK, 0, c.capable(clientSide, serverSide))
			l.send(clientSide, packet.ACK, 10, c.dss(clientSide, 0, 1, 0, 10, false))
			l.send(serverSide, packet.ACK, 10, c.dss(serverSide, 10, 1, 0, 10, false))
			reset(l, serverSide)
		}, trace.Incomplete, trace.TCPReset, trace.Close{How: trace.ByReset, By: "server"}},
		"reset": {func(c *conversation, l *line) {
			c.open(l)
			reset(l, serverSide, reason)
			c.after(2 * time.Minute)
		}, trace.Multipath, trace.TCPReset, trace.Close{How: trace.ByReset, By: "server", Reason: "lack of resources", Transient: true}},
		"reset out of place": {func(c *conversation, l *line) {
			c.open(l)
			l.again(serverSide, l.next[serverSide]+1000, packet.RST, 0, reason)
			l.send(clientSide, packet.ACK, 10, c.dss(clientSide, 0, 1, 0, 10, false))
		}, trace.Multipath, trace.StillOpen, trace.Close{How: trace.NotClosed}},
		"fast close": {func(c *conversation, l *line) {
			c.open(l)
			reset(l, clientSide, fastClose)
		}, trace.Multipath, trace.FastClose, trace.Close{How: trace.ByFastClose, By: "client"}},
		"without DATA_FIN": {func(c *conversation, l *line) {
			c.open(l)
			l.end(clientSide)
			c.after(2 * time.Minute)
		}, trace.Multipath, trace.TCPFIN, trace.Close{How: trace.ByFIN, By: "client"}},
		"half closed": {func(c *conversation, l *line) {
			c.open(l)
			l.send(serverSide, packet.FIN|packet.ACK, 0)
		}, trace.Multipath, trace.StillOpen, trace.Close{How: trace.HalfClosed, By: "server"}},
		"idle": {func(c *conversation, l *line) {
			c.open(l)
			c.after(2 * time.Hour)
		}, trace.Multipath, trace.Idle, trace.Close{How: trace.NotClosed}},
		"port used again": {func(c *conversation, l *line) {
			c.open(l)
			useAgain(l)
		}, trace.Multipath, trace.Replaced, trace.Close{How: trace.NotClosed}},
		"port of the last subflow used again": {func(c *conversation, l *line) {
			c.open(l)
			second := c.line(cell, other)
			c.openJoin(second)
			second.end(clientSide)
			l.send(clientSide, packet.ACK, 0)
			useAgain(l)
			c.after(2 * time.Minute)
		}, trace.Multipath, trace.Replaced, trace.Close{How: trace.NotClosed}},
		"port used again after both streams": {func(c *conversation, l *line) {
			c.open(l)
			second := c.line(cell, other)
			c.openJoin(second)
			second.send(clientSide, packet.ACK, 0, c.dss(clientSide, 0, 0, 0, 0, true))
			second.send(serverSide, packet.ACK, 0, c.dss(serverSide, 1, 0, 0, 0, true))
			second.end(clientSide)
			l.send(serverSide, packet.FIN|packet.ACK, 0)
			useAgain(l)
		}, trace.Multipath, trace.DataFIN, trace.Close{How: trace.HalfClosed, By: "server"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConversation(1)
			tt.make(c, c.line(wifi, server))
			c.line("192.0.2.77:1", server).send(clientSide, packet.SYN, 0) // time has passed
			x := only(t, told(trace.Defaults(), c.all))
			if x.Outcome != tt.outcome || x.Ending != tt.ending || x.Subflows[0].Close != tt.close {
				t.Errorf("%s, %s, %+v", x.Outcome, x.Ending, x.Subflows[0].Close)
			}
		})
	}
}

// TestOthers counts what is not analyzed.
func TestOthers(t *testing.T) {
	c := newConversation(1)
	plain := c.line(wifi, server)
	plain.send(clientSide, packet.SYN, 0)
	plain.send(serverSide, packet.SYN|packet.ACK, 0)
	plain.send(clientSide, packet.ACK, 100)
	plain.end(clientSide)
	plain.send(serverSide, packet.ACK, 0) // late
	c.line("192.0.2.7:1", server).send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN))
	c.line("192.0.2.7:2", server).send(clientSide, packet.ACK, 10)
	headless := c.line("192.0.2.7:3", server)
	for range 2 {
		headless.send(clientSide, packet.ACK, 10, c.dss(clientSide, 0, 1, 0, 10, false))
	}
	c.line("192.0.2.7:4", server).send(clientSide, packet.SYN, 0, []byte{byte(wire.MPCapable) << 4})
	got := told(trace.Defaults(), c.all)
	want := trace.Counts{TCP: 2, TCPBytes: 100, Headless: 2, HeadlessMPTCP: 1, Strays: 1, Malformed: 1}
	if got.counts != want || len(got.connections) != 0 {
		t.Errorf("%+v, %d connections", got.counts, len(got.connections))
	}
}

// TestSameToken has two connections with the same token, which the code in the
// answer to MP_JOIN tells apart.
func TestSameToken(t *testing.T) {
	seen := map[uint32]uint64{}
	var keys [2]uint64
	for key := uint64(1); ; key++ {
		token, _ := wire.Derive(1, key)
		if twin, ok := seen[token]; ok {
			keys = [2]uint64{twin, key}
			break
		}
		seen[token] = key
	}
	c := newConversation(1)
	for i, at := range []string{"198.51.100.2:1", "198.51.100.3:1"} {
		c.keys = [2]uint64{uint64(i + 100), keys[i]}
		c.open(c.line(at, server))
	}
	c.openJoin(c.line(cell, server))
	c.keys[clientSide] = 7777
	c.openJoin(c.line("192.0.2.9:9", server)) // of neither
	all := told(trace.Defaults(), c.all)
	if len(all.connections) != 2 {
		t.Fatal(len(all.connections))
	}
	joins := map[trace.Opening]uint16{}
	for _, x := range all.connections {
		for _, s := range x.Subflows[1:] {
			joins[s.Opening] = x.Client.Port() + uint16(x.Number)
		}
	}
	if joins[trace.Established] != 3 || joins[trace.Unauthentic] == 0 || len(joins) != 2 {
		t.Errorf("%v", joins)
	}
}

func TestJoins(t *testing.T) {
	for want, make := range map[trace.Opening]func(c *conversation, l *line){
		trace.NotAnswered: func(c *conversation, l *line) { l.send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN)) },
		trace.NotAccepted: func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN))
			l.send(serverSide, packet.RST|packet.ACK, 0)
		},
		trace.Stripped: func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN))
			l.send(serverSide, packet.SYN|packet.ACK, 0)
			l.send(clientSide, packet.RST, 0)
		},
		trace.NotConfirmed: func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN))
			l.send(serverSide, packet.SYN|packet.ACK, 0, c.join(wire.JoinSYNACK))
		},
		trace.NotInCapture: func(c *conversation, l *line) {
			l.send(clientSide, packet.SYN, 0, c.join(wire.JoinSYN))
			l.send(clientSide, packet.ACK, 0, c.join(wire.JoinACK))
		},
	} {
		c := newConversation(1)
		c.open(c.line(wifi, server))
		make(c, c.line(cell, other))
		x := only(t, told(trace.Defaults(), c.all))
		if len(x.Subflows) != 2 || x.Subflows[1].Opening != want || x.Subflows[1].Used() {
			t.Errorf("%s: %+v", want, x.Subflows[1:])
		}
	}
}

// TestBounds follows no more connections than it may, and forgets them.
func TestBounds(t *testing.T) {
	c := newConversation(1)
	for i := range 1000 {
		c.keys[serverSide] = uint64(i + 1)
		c.open(c.line(fmt.Sprintf("10.0.%d.%d:5", i/250, i%250), server))
		c.line(fmt.Sprintf("10.1.%d.%d:5", i/250, i%250), server).send(clientSide, packet.SYN, 0)
	}
	const most = 100
	emitted := 0
	a := trace.New(trace.Options{Idle: time.Minute, Live: most}, func(*trace.Connection) { emitted++ })
	for i := range c.all {
		a.Segment(&c.all[i])
		if a.Live() > most {
			t.Fatalf("%d connections", a.Live())
		}
	}
	if n := a.Counts().Evicted; n != 2000-most || emitted != 1000-most/2 {
		t.Errorf("%d given up, %d told", n, emitted)
	}
	late := c.all[0]
	late.Time = late.Time.Add(time.Hour)
	a.Segment(&late)
	if a.Live() != 1 || emitted != 1000 {
		t.Errorf("after an hour %d are live, %d told", a.Live(), emitted)
	}
	a.Close()
}
