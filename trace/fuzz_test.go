// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/trace"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/packet/packettest"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// FuzzAnalyzer analyzes anything: each byte that subflows have carried is told
// once, and everything that was begun is given away.
func FuzzAnalyzer(f *testing.F) {
	for version := range uint8(2) {
		c := newConversation(version)
		first, second := c.line(wifi, server), c.line(cell, other)
		c.open(first)
		c.openJoin(second)
		second.send(serverSide, packet.ACK, 100, c.dss(serverSide, 0, 1, 0, 100, false))
		first.send(serverSide, packet.ACK, 200, c.dss(serverSide, 0, 1, 0, 200, false))
		first.send(clientSide, packet.ACK, 30, []byte{byte(wire.AddAddr) << 4, 3, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0})
		first.send(clientSide, packet.ACK, 0, c.dss(clientSide, 200, 1, 0, 30, true))
		second.send(serverSide, packet.RST|packet.ACK, 0, []byte{byte(wire.MPTCPRst) << 4, 4})
		first.end(clientSide)
		f.Add(packettest.Pcap(f, c.all...))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := packet.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		const most = 4
		told := uint64(0)
		a := trace.New(trace.Options{Idle: time.Minute, Live: most}, func(c *trace.Connection) {
			told++
			check(t, c)
		})
		var s packet.Segment
		for range 1000 {
			if r.Next(&s) != nil {
				break
			}
			a.Segment(&s)
			if a.Live() > most {
				t.Fatalf("%d connections are followed", a.Live())
			}
		}
		a.Close()
		if n := a.Counts().MPTCP; told != n || a.Live() != 0 {
			t.Fatalf("told %d connections of %d, %d left", told, n, a.Live())
		}
	})
}

// check wants of a connection that its bytes add up.
func check(t *testing.T, c *trace.Connection) {
	t.Helper()
	if _, err := json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		trace.Data
		of func(*trace.Subflow) trace.Flow
	}{
		{c.Up, func(s *trace.Subflow) trace.Flow { return s.Up }},
		{c.Down, func(s *trace.Subflow) trace.Flow { return s.Down }},
	} {
		carried := uint64(0)
		for i := range c.Subflows {
			if c.Subflows[i].Opening == trace.NotInCapture { // where it begins is not known
				return
			}
			carried += d.of(&c.Subflows[i]).Bytes
		}
		if carried != d.Bytes+d.Reinjected+d.Unmapped {
			t.Fatalf("subflows carried %d bytes; the connection %d, %d again, %d without mapping", carried, d.Bytes, d.Reinjected, d.Unmapped)
		}
	}
}

// BenchmarkAnalyze reads a capture of transfers over two subflows each, 100 at a
// time.
func BenchmarkAnalyze(b *testing.B) {
	c := newConversation(1)
	var pairs [][2]*line
	for i := range 100 {
		at := string(rune('0'+i/10)) + string(rune('0'+i%10))
		p := [2]*line{c.line("198.51.100.2:40"+at, server), c.line("198.51.100.130:40"+at, server)}
		pairs = append(pairs, p)
		c.keys = [2]uint64{uint64(2*i + 1), uint64(2*i + 2)}
		c.open(p[0])
		c.openJoin(p[1])
	}
	const segment = 100 // as if the rest had not been captured
	for round := range uint64(200) {
		for i, p := range pairs {
			c.keys = [2]uint64{uint64(2*i + 1), uint64(2*i + 2)}
			for k, l := range p {
				l.send(serverSide, packet.ACK, segment, c.dss(serverSide, 0, uint32(round*segment)+1, (2*round+uint64(k))*segment, segment, false))
			}
			p[0].send(clientSide, packet.ACK, 0, c.dss(clientSide, (2*round+1)*segment, 0, 0, -1, false))
		}
	}
	file := packettest.Pcap(b, c.all...)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := packet.NewReader(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		a := trace.New(trace.Defaults(), func(*trace.Connection) { n++ })
		var s packet.Segment
		for r.Next(&s) == nil {
			a.Segment(&s)
		}
		a.Close()
		if n != len(pairs) {
			b.Fatalf("%d connections", n)
		}
	}
	b.ReportMetric(float64(len(c.all))*float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// BenchmarkLive tells the memory of a connection that is followed: of MPTCP with
// two subflows that carry data, and of TCP.
func BenchmarkLive(b *testing.B) {
	for name, multipath := range map[string]bool{"MPTCP": true, "TCP": false} {
		b.Run(name, func(b *testing.B) {
			a := trace.New(trace.Options{Idle: time.Hour, Live: 1 << 30}, func(*trace.Connection) {})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			n := 0
			for b.Loop() {
				c := newConversation(1)
				at := fmt.Sprintf("[2001:db8::%x:%x]:5", n>>16, n&0xffff)
				first, second := c.line(at, server), c.line("[2001:db8:1:"+at[len("[2001:db8:"):], server)
				n++
				if multipath {
					c.keys = [2]uint64{uint64(2 * n), uint64(2*n + 1)}
					c.open(first)
					c.openJoin(second)
					for i := range uint64(4) {
						second.send(serverSide, packet.ACK, 10, c.dss(serverSide, 0, uint32(10*i+1), 20*i, 10, false))
						first.send(serverSide, packet.ACK, 10, c.dss(serverSide, 0, uint32(10*i+1), 20*i+10, 10, false))
						first.send(clientSide, packet.ACK, 0, c.dss(clientSide, 20*i+20, 0, 0, -1, false))
					}
				} else {
					first.send(clientSide, packet.SYN, 0)
					first.send(serverSide, packet.SYN|packet.ACK, 0)
					first.send(clientSide, packet.ACK, 10)
				}
				for i := range c.all {
					a.Segment(&c.all[i])
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if a.Live() != n {
				b.Fatalf("%d connections of %d", a.Live(), n)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/connection")
		})
	}
}
