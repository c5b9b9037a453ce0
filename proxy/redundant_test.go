// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/converter"
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
				conn := dialProxy(t, cpe.addr, mptcp.ModePrefer)
				send(t, conn, []byte(hello+request(socks.Connect, server)+"early"))
				expect(t, conn, welcome)
				if code, _ := readReply(t, conn); code != socks.Succeeded {
					t.Fatalf("reply %v", code)
				}
				expect(t, conn, "early")
				exchange(t, conn, "words")
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
