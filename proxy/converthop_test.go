// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// toConverter is a hop through a converter on this host.
func toConverter(name string, addr netip.AddrPort, mode mptcp.Mode) *ConvertHop {
	return NewConvertHop(ConvertHopOptions{
		Name:      name,
		Addresses: []netip.AddrPort{addr},
		Connect:   mptcp.ConnectOptions{Mode: mode},
		Dialer:    converter.DialerConfig{AllowLoopback: true},
	})
}

// through is a SOCKS5 listener whose clients go through upstream.
func through(upstream Upstream) *Listener {
	l := socksListener(socks.Config{})
	l.Upstream = upstream
	return l
}

// ask makes a SOCKS5 request and returns the reply's code. The connection is
// there to be used if it is Succeeded.
func ask(t testing.TB, proxy, target netip.AddrPort) (*mptcp.Conn, socks.Code) {
	t.Helper()
	c := dialProxy(t, proxy, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Connect, target)))
	expect(t, c, welcome)
	code, _ := readReply(t, c)
	return c, code
}

// SOCKS5 client, CPE, aggregator, server: with and without cookies and MPTCP.
func TestThroughConverter(t *testing.T) {
	server := echoServer(t)
	for _, cookies := range []string{"off", "required"} {
		for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModeRequire} {
			t.Run("cookies "+cookies+"/mptcp "+mode.String(), func(t *testing.T) {
				var c converter.ServerConfig
				attempts := uint64(2)
				if cookies == "required" {
					jar, err := converter.NewCookieJar(nil, 0)
					if err != nil {
						t.Fatal(err)
					}
					c.Cookies, attempts = jar, 3 // the first one fetches it
				}
				aggregator := serve(t, Options{}, convertListener(c))
				cpe := serve(t, Options{}, through(only{toConverter("agg", aggregator.addr, mode)}))
				for range 2 {
					exchangeEarly(t, askEarly(t, cpe.addr, server, "early"), "early")
				}
				cpe.quiescent()
				r := cpe.records.wait(t, 2)[1]
				if r.Hop != "agg" || r.Server != server || r.ServerMPTCP.MPTCP != (mode == mptcp.ModeRequire) || r.Up != 10 || r.Down != 10 {
					t.Errorf("record %+v", r)
				}
				if s := aggregator.quiescent(); s.Accepted != attempts || s.Relayed != 2 {
					t.Errorf("aggregator %+v", s)
				}
			})
		}
	}
}

// What the server did is what the client gets to see, two proxies away.
func TestErrorsThroughConverter(t *testing.T) {
	up, gone := echoServer(t), echoServerGone(t)
	deny, err := policy.NewDestinations(policy.DestinationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		change   func(aggregator *Listener, o *Options)
		target   netip.AddrPort
		code     socks.Code
		reason   string // at the CPE
		keptAway bool
	}{
		{"server refuses", func(*Listener, *Options) {}, gone, socks.ConnectionRefused, "server", false},
		{"server does not answer", func(l *Listener, _ *Options) {
			l.Timeouts = Timeouts{Handshake: patience, Connect: 50 * time.Millisecond}
		}, netip.MustParseAddrPort(fullServer(t)), socks.HostUnreachable, "server", false},
		{"aggregator denies", func(l *Listener, _ *Options) { l.Destinations = deny }, up, socks.NotAllowed, "destination", false},
		{"aggregator is full", func(_ *Listener, o *Options) {
			o.Limiter = limiter(t, policy.LimitsConfig{Total: 1})
		}, up, socks.GeneralFailure, "upstream", true},
		{"aggregator cannot forward", func(l *Listener, _ *Options) { l.Upstream = nowhere{} }, up, socks.GeneralFailure, "upstream", true},
		{"not a target", func(*Listener, *Options) {}, netip.MustParseAddrPort("224.0.0.1:80"), socks.NotAllowed, "destination", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, o := convertListener(converter.ServerConfig{}), Options{}
			test.change(l, &o)
			aggregator := serve(t, o, l)
			if o.Limiter != nil {
				dialProxy(t, aggregator.addr, mptcp.ModeOff)
				await(t, "the aggregator to be full", func() bool { return aggregator.Stats().Active == 1 })
			}
			hop := toConverter("agg", aggregator.addr, mptcp.ModePrefer)
			cpe := serve(t, Options{}, through(only{hop}))
			c, code := ask(t, cpe.addr, test.target)
			if code != test.code {
				t.Errorf("reply %q, want %q", code, test.code)
			}
			expectEnd(t, c)
			c.Close()
			if s := cpe.quiescent(); s.Refused[test.reason] != 1 {
				t.Errorf("refused %v", s.Refused)
			}
			if hop.dialer.Available(time.Now()) == test.keptAway {
				t.Errorf("kept away: %v", !test.keptAway)
			}
			before := aggregator.Stats().Accepted
			ask(t, cpe.addr, test.target)
			if asked := aggregator.Stats().Accepted > before; asked != (!test.keptAway && test.target.Addr().IsLoopback()) {
				t.Errorf("asked once more: %v", asked)
			}
		})
	}
}

func TestConverterIsNotOne(t *testing.T) {
	for name, server := range map[string]netip.AddrPort{
		"refuses":     echoServerGone(t),
		"speaks else": echoServer(t), // answers a request with the same request
		"MPTCP not":   serve(t, Options{}, &Listener{FrontEnd: NewConvertFront(converter.NewServer(converter.ServerConfig{AllowLoopback: true}))}).addr,
	} {
		hop := toConverter("agg", server, mptcp.ModeRequire)
		if name != "MPTCP not" {
			hop = toConverter("agg", server, mptcp.ModeOff)
		}
		cpe := serve(t, Options{}, through(only{hop}))
		if _, code := ask(t, cpe.addr, echoServer(t)); code != socks.GeneralFailure {
			t.Errorf("%s: reply %q", name, code)
		}
		if s := cpe.Stats(); s.Refused["upstream"] != 1 {
			t.Errorf("%s: refused %v", name, s.Refused)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := hop.Check(ctx); err == nil {
			t.Errorf("%s: the check says that it is one", name)
		}
		cancel()
	}
}

func TestConvertHopCheck(t *testing.T) {
	jar, err := converter.NewCookieJar(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	aggregator := serve(t, Options{}, convertListener(converter.ServerConfig{Cookies: jar}))
	hop := toConverter("agg", aggregator.addr, mptcp.ModeRequire)
	hop.addresses = append([]netip.AddrPort{echoServerGone(t)}, hop.addresses...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := hop.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if err := hop.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if s := aggregator.quiescent(); s.Accepted != 3 || s.Refused["authentication"] != 1 {
		t.Errorf("stats %+v", s) // the first one fetched the cookie
	}
	silent := toConverter("silent", netip.MustParseAddrPort(fullServer(t)), mptcp.ModeOff)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := silent.Check(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("check that was given up: %v", err)
	}
}

// A server that speaks MPTCP needs no converter once that is known, and needs
// one again when it turns out not to.
func TestBypass(t *testing.T) {
	server := mptcpEchoServer(t)
	plain := echoServer(t)
	jar := convertListener(converter.ServerConfig{})
	aggregator := serve(t, Options{SYNACKs: capableSYNACK{}}, jar)
	hop := toConverter("agg", aggregator.addr, mptcp.ModePrefer)
	hop.probe = true
	direct := NewDirect("bypass", mptcp.ConnectOptions{Mode: mptcp.ModePrefer}, Source{}, false)
	cpe := serve(t, Options{}, through(NewBypass(only{hop}, []*ConvertHop{hop}, direct)))
	for i, want := range []struct {
		target netip.AddrPort
		hop    string
	}{
		{server, "agg"}, {server, "bypass"}, {server, "bypass"},
		// The SYN-ACK told a lie: tried once, and never again unless told so.
		{plain, "agg"}, {plain, "bypass"}, {plain, "agg"},
	} {
		c, code := ask(t, cpe.addr, want.target)
		if code != socks.Succeeded {
			t.Fatalf("reply %q", code)
		}
		exchange(t, c, "words")
		if r := cpe.records.wait(t, i+1)[i]; r.Hop != want.hop {
			t.Errorf("connection %d went by %s, want %s", i, r.Hop, want.hop)
		}
	}
}

// A server that cannot be reached without the converter is reached with it.
func TestBypassThatFails(t *testing.T) {
	server := echoServer(t)
	aggregator := serve(t, Options{SYNACKs: capableSYNACK{}}, convertListener(converter.ServerConfig{}))
	hop := toConverter("agg", aggregator.addr, mptcp.ModePrefer)
	nowhere := mptcp.ConnectOptions{Mode: mptcp.ModePrefer, Socket: mptcp.SocketOptions{Device: "nowhere"}}
	bypass := NewBypass(only{hop}, []*ConvertHop{hop}, NewDirect("bypass", nowhere, Source{}, false))
	cpe := serve(t, Options{}, through(bypass))
	for i := range 3 {
		if i == 1 && !hop.dialer.SpeaksMPTCP(server, time.Now()) {
			t.Error("the server is not known to speak MPTCP")
		}
		c, code := ask(t, cpe.addr, server)
		if code != socks.Succeeded {
			t.Fatalf("reply %q", code)
		}
		exchange(t, c, "words")
		if r := cpe.records.wait(t, i+1)[i]; r.Hop != "agg" {
			t.Errorf("connection %d went by %s", i, r.Hop)
		}
	}
}

// capableSYNACK claims that every server speaks MPTCP.
type capableSYNACK struct{}

func (capableSYNACK) AppendOptions(dst []byte, _ uint16, _ netip.AddrPort) ([]byte, bool) {
	return append(dst, wire.KindMPTCP, 4, 1, 0), true
}

func TestFastOpenRests(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := peer{connect: mptcp.ConnectOptions{FastOpen: true}}
	at := func(after time.Duration, want bool) {
		t.Helper()
		if got := p.fastOpen(now.Add(after)); got != want {
			t.Errorf("after %s: Fast Open %v, want %v", after, got, want)
		}
	}
	at(0, true)
	p.fastOpened(false, now)
	p.fastOpened(false, now.Add(time.Second)) // began before
	p.fastOpened(true, now.Add(time.Second))  // without Fast Open
	at(fastOpenRest-1, false)
	at(fastOpenRest, true)
	now = now.Add(fastOpenRest)
	p.fastOpened(false, now)
	at(2*fastOpenRest-1, false)
	at(2*fastOpenRest, true)
	now = now.Add(2 * fastOpenRest)
	p.fastOpened(true, now)
	p.fastOpened(false, now)
	at(fastOpenRest, true)
	for range 20 {
		now = now.Add(maxFastOpenRest)
		p.fastOpened(false, now)
	}
	at(maxFastOpenRest-1, false)
	at(maxFastOpenRest, true)
}
