// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/redundant"
)

// twoPaths are addresses of this host.
func twoPaths() []Path {
	return []Path{{Local: netip.MustParseAddr("127.0.0.2")}, {Local: netip.MustParseAddr("127.0.0.3")}}
}

// redundantly is an upstream through a converter on this host, on all paths.
func redundantly(addr netip.AddrPort, paths []Path) Upstream {
	hop := toConverter("agg", addr, mptcp.ModeOff)
	return NewRedundant(only{hop}, []*ConvertHop{hop}, RedundantOptions{
		Paths:  func() []Path { return paths },
		Dialer: converter.DialerConfig{AllowLoopback: true},
	})
}

// SOCKS5 client, CPE, two legs, aggregator, server.
func TestRedundant(t *testing.T) {
	server := echoServer(t)
	for _, cookies := range []string{"off", "required"} {
		t.Run("cookies "+cookies, func(t *testing.T) {
			c := converter.ServerConfig{Redundancy: true}
			if cookies == "required" {
				jar, err := converter.NewCookieJar(nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				c.Cookies = jar
			}
			aggregator := serve(t, Options{}, convertListener(c))
			cpe := serve(t, Options{}, through(redundantly(aggregator.addr, twoPaths())))
			conn := dialProxy(t, cpe.addr, mptcp.ModePrefer)
			send(t, conn, []byte(hello+request(socks.Connect, server)+"early"))
			expect(t, conn, welcome)
			if code, _ := readReply(t, conn); code != socks.Succeeded {
				t.Fatalf("reply %v", code)
			}
			expect(t, conn, "early")
			await(t, "both legs", func() bool { return aggregator.streams.Stats().Legs == 2 })
			want := make([]byte, 1<<20)
			_, _ = rand.Read(want)
			go func() {
				_, _ = conn.Write(want)
				_ = conn.CloseWrite()
			}()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			cpe.quiescent()
			if r := cpe.records.wait(t, 1)[0]; r.Hop != "agg/redundant" || r.Err != nil || r.Up != uint64(len(want))+5 {
				t.Errorf("record of the CPE %+v", r)
			}
			aggregator.quiescent()
			carried := 0
			for _, r := range aggregator.records.wait(t, 2) {
				if r.Command == Connect && r.Served {
					carried++
				}
			}
			if carried != 1 {
				t.Errorf("the server got %d connections", carried)
			}
			await(t, "the end of the streams", func() bool {
				return aggregator.streams.Stats() == redundant.Stats{} && cpe.streams.Stats() == redundant.Stats{}
			})
		})
	}
}

// A converter that knows no legs, or that no leg reaches, is spoken to as ever.
func TestNotRedundant(t *testing.T) {
	server := echoServer(t)
	for name, paths := range map[string][]Path{"unknown": twoPaths(), "no path": nil} {
		t.Run(name, func(t *testing.T) {
			aggregator := serve(t, Options{}, convertListener(converter.ServerConfig{}))
			cpe := serve(t, Options{}, through(redundantly(aggregator.addr, paths)))
			for range 2 {
				exchangeEarly(t, askEarly(t, cpe.addr, server, "early"), "early")
			}
			cpe.quiescent()
			for _, r := range cpe.records.wait(t, 2) {
				if r.Hop != "agg" || r.Up != 10 {
					t.Errorf("record %+v", r)
				}
			}
		})
	}
}

// What the server did is what the client gets to see, through a stream.
func TestErrorsThroughStream(t *testing.T) {
	aggregator := serve(t, Options{}, convertListener(converter.ServerConfig{Redundancy: true}))
	cpe := serve(t, Options{}, through(redundantly(aggregator.addr, twoPaths())))
	if _, code := ask(t, cpe.addr, echoServerGone(t)); code != socks.ConnectionRefused {
		t.Errorf("reply %v", code)
	}
}

// A reset at one end of a stream is one at the other.
func TestResetThroughStream(t *testing.T) {
	aggregator := serve(t, Options{}, convertListener(converter.ServerConfig{Redundancy: true}))
	cpe := serve(t, Options{}, through(redundantly(aggregator.addr, twoPaths())))
	conn, code := ask(t, cpe.addr, echoServer(t))
	if code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	send(t, conn, []byte("words"))
	expect(t, conn, "words")
	if err := conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	cpe.quiescent()
	aggregator.quiescent()
	var relayed int
	for _, r := range aggregator.records.wait(t, 1) {
		if r.Command == Connect {
			relayed++
			if !errors.Is(r.Err, redundant.ErrReset) {
				t.Errorf("record %+v", r)
			}
		}
	}
	if relayed != 1 {
		t.Errorf("%d connections", relayed)
	}
}

// Both ends lose the stream when the CPE is gone.
func TestStreamOfStoppedProxy(t *testing.T) {
	aggregator := serve(t, Options{}, convertListener(converter.ServerConfig{Redundancy: true}))
	cpe := serve(t, Options{}, through(redundantly(aggregator.addr, twoPaths())))
	conn, code := ask(t, cpe.addr, echoServer(t))
	if code != socks.Succeeded {
		t.Fatalf("reply %v", code)
	}
	send(t, conn, []byte("words"))
	expect(t, conn, "words")
	cpe.Close()
	aggregator.quiescent()
}

// askLeg asks a converter for a leg and returns its answer.
func askLeg(t *testing.T, to netip.AddrPort, leg wire.Redundancy, frames ...byte) (*mptcp.Conn, *wire.Message) {
	t.Helper()
	conn := dialProxy(t, to, mptcp.ModeOff)
	request := wire.Message{Private: []wire.Private{leg.Private()}}
	in, err := request.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	send(t, conn, append(in, frames...))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, 4*int(answer[1])-len(answer))
	if _, err := io.ReadFull(conn, rest); err != nil {
		t.Fatal(err)
	}
	m, _, err := wire.Parse(append(answer, rest...))
	if err != nil {
		t.Fatal(err)
	}
	return conn, &m
}

// Who does not know the name of a stream, or comes by another listener, does not
// join it, and nothing is kept for who asks for one that is not there.
func TestLegsOfStrangers(t *testing.T) {
	first, second := convertListener(converter.ServerConfig{Redundancy: true}), convertListener(converter.ServerConfig{Redundancy: true})
	second.Name = "second"
	aggregator := serve(t, Options{}, first, second)
	bound, err := aggregator.Apply([]*Listener{first, second})
	if err != nil {
		t.Fatal(err)
	}
	leg := wire.Redundancy{ID: redundant.NewID()}
	conn, m := askLeg(t, aggregator.addr, leg)
	var began wire.Redundancy
	if len(m.Private) == 1 {
		began, _ = wire.ParseRedundancy(m.Private[0].Body)
	}
	if began.ID != leg.ID || began.Instance == 0 {
		t.Fatalf("%+v", m)
	}
	for name, ask := range map[string]struct {
		to  netip.AddrPort
		leg wire.Redundancy
	}{
		"another instance": {aggregator.addr, wire.Redundancy{ID: leg.ID, Instance: began.Instance + 1}},
		"another name":     {aggregator.addr, wire.Redundancy{ID: redundant.NewID(), Instance: began.Instance}},
		"another listener": {bound[1].Address, began},
	} {
		_, m := askLeg(t, ask.to, ask.leg)
		if m.Error == nil || m.Error.Code != wire.ConnectionReset {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if n := aggregator.streams.Stats(); n.Streams != 1 || n.Legs != 1 {
		t.Errorf("%+v", n)
	}
	conn.Close()
}

// A flood of streams that say nothing is bounded by the time for a handshake,
// and one of legs by the number for a stream. Neither takes memory.
func TestFloodOfLegs(t *testing.T) {
	l := convertListener(converter.ServerConfig{Redundancy: true})
	complete(l)
	l.Timeouts.Handshake = 200 * time.Millisecond
	aggregator := serve(t, Options{Redundant: redundant.Config{MaxLegs: 3, Linger: 200 * time.Millisecond}}, l)
	leg := wire.Redundancy{ID: redundant.NewID()}
	var flood []*mptcp.Conn
	for range 3 {
		conn, m := askLeg(t, aggregator.addr, leg)
		if m.Error != nil {
			t.Fatalf("%+v", m)
		}
		flood = append(flood, conn)
	}
	conn := dialProxy(t, aggregator.addr, mptcp.ModeOff)
	m := wire.Message{Private: []wire.Private{leg.Private()}}
	request, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	send(t, conn, request)
	expectEnd(t, conn)
	for range 50 {
		conn, _ := askLeg(t, aggregator.addr, wire.Redundancy{ID: redundant.NewID()})
		flood = append(flood, conn)
	}
	if n := aggregator.streams.Stats(); n.Memory != 0 {
		t.Errorf("%+v", n)
	}
	aggregator.quiescent()
	for _, conn := range flood {
		conn.Close() // or some seconds later
	}
	await(t, "the end of the streams", func() bool { return aggregator.streams.Stats() == redundant.Stats{} })
}
