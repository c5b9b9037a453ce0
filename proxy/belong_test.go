// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/subscribers"
)

// registry returns one in which loopback is anna's, with a policy.
func registry(t *testing.T, p subscribers.Policy, o subscribers.Options) *subscribers.Registry {
	t.Helper()
	var err error
	if o.Directory, err = subscribers.NewDirectory(subscribers.DirectoryConfig{
		Subscribers: []subscribers.Subscriber{{Name: "anna", Password: "geheim", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		Default:     p,
	}); err != nil {
		t.Fatal(err)
	}
	r, err := subscribers.NewRegistry(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// open opens a tunnel and returns what its client was told.
func (p *proxied) open(server netip.AddrPort) (*mptcp.Conn, socks.Code) {
	p.t.Helper()
	c := dialProxy(p.t, p.addr, mptcp.ModeOff)
	send(p.t, c, []byte(hello+request(socks.Connect, server)))
	expect(p.t, c, welcome)
	code, _ := readReply(p.t, c)
	return c, code
}

func TestConnectionsOfASubscriber(t *testing.T) {
	r := registry(t, subscribers.Policy{Connections: 1}, subscribers.Options{})
	l := socksListener(socks.Config{})
	l.Subscribers, l.SubscribersOnly = r, true
	p, server := serve(t, Options{}, l), echoServer(t)
	c, code := p.open(server)
	if code != 0 {
		t.Fatalf("told %d", code)
	}
	send(t, c, []byte("four"))
	expect(t, c, "four")
	p.single("the bytes", func(l *Live) bool { return l.User == "anna" && l.Down == 4 })
	if s := r.Accounts(); len(s) != 1 || s[0].Connections != 1 || s[0].Up != 4 || s[0].Down != 4 {
		t.Errorf("%+v", s)
	}
	if _, code := p.open(server); code == 0 {
		t.Error("a second connection is served")
	}
	if rec := p.records.wait(t, 1)[0]; rec.Refused != RefusedLimit+Reason(policy.Subscriber) {
		t.Errorf("refused for %v", rec.Refused)
	}
	c.Close()
	await(t, "the end of the first", func() bool { return r.Accounts()[0].Connections == 0 })
	if _, code := p.open(server); code != 0 {
		t.Errorf("told %d after the first had ended", code)
	}
}

func TestNobodysConnections(t *testing.T) {
	r, err := subscribers.NewRegistry(subscribers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	for _, only := range []bool{true, false} {
		l := socksListener(socks.Config{})
		l.Subscribers, l.SubscribersOnly = r, only
		p := serve(t, Options{}, l)
		if _, code := p.open(echoServer(t)); (code != 0) != only {
			t.Errorf("told %d where others are refused: %v", code, only)
		}
	}
}

// asked is a Backend that says the same of everybody.
type asked struct{ err error }

func (a asked) Authenticate(context.Context, subscribers.Question) (subscribers.Grant, error) {
	return subscribers.Grant{}, a.err
}

func TestSubscribersAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		answer error
		only   bool
		served bool
	}{
		{nil, true, true}, {subscribers.ErrRejected, true, false}, {subscribers.ErrRejected, false, true},
		{subscribers.ErrAway, true, false}, {subscribers.ErrAway, false, false},
	} {
		r, err := subscribers.NewRegistry(subscribers.Options{Backend: asked{c.answer}, ByAddress: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		l := socksListener(socks.Config{})
		l.Subscribers, l.SubscribersOnly = r, c.only
		p := serve(t, Options{}, l)
		conn, code := p.open(echoServer(t))
		if served := code == 0; served != c.served {
			t.Errorf("%v, only subscribers %v: told %d", c.answer, c.only, code)
			continue
		}
		conn.Close()
		if rec := p.records.wait(t, 1)[0]; !c.served && rec.Refused != RefusedAuth || c.answer == nil && rec.User != "127.0.0.1" {
			t.Errorf("%v, only subscribers %v: %+v", c.answer, c.only, rec)
		}
	}
}

func TestDestinationsOfASubscriber(t *testing.T) {
	d, err := policy.NewDestinations(policy.DestinationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	l := socksListener(socks.Config{})
	l.Destinations, l.Subscribers = nil, registry(t, subscribers.Policy{Destinations: d}, subscribers.Options{})
	p := serve(t, Options{}, l)
	if _, code := p.open(echoServer(t)); code != 2 {
		t.Errorf("told %d about a destination on loopback", code)
	}
	if rec := p.records.wait(t, 1)[0]; !errors.Is(rec.Err, policy.ErrDenied) {
		t.Error(rec.Err)
	}
}

// TestRateOfASubscriber has two connections that share a rate, which is lifted
// while they live.
func TestRateOfASubscriber(t *testing.T) {
	const rate, size = 1000, 100_000
	r := registry(t, subscribers.Policy{Up: rate}, subscribers.Options{})
	l := socksListener(socks.Config{})
	l.Subscribers = r
	p, server := serve(t, Options{}, l), echoServer(t)
	began := time.Now()
	var conns []*mptcp.Conn
	for range 2 {
		c, code := p.open(server)
		if code != 0 {
			t.Fatalf("told %d", code)
		}
		send(t, c, make([]byte, size))
		conns = append(conns, c)
	}
	moved := func() uint64 { return r.Accounts()[0].Up }
	await(t, "the first bytes", func() bool { return moved() > rate })
	// What may move at once is what a second earns; each connection may have
	// taken that at the same time.
	if n, most := moved(), rate*(time.Since(began).Seconds()+4); float64(n) > most {
		t.Errorf("%d bytes have moved, want at most %.0f", n, most)
	}
	none := uint64(0)
	if _, err := r.Change(subscribers.Matches{Name: "anna"}, subscribers.Changes{Up: &none}); err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		expect(t, c, string(make([]byte, size)))
	}
	for _, c := range conns {
		c.Close()
	}
}

func TestKickAccount(t *testing.T) {
	p := serve(t, Options{})
	r := registry(t, subscribers.Policy{}, subscribers.Options{Kick: func(a *subscribers.Account) { p.KickAccount(a) }})
	l := socksListener(socks.Config{})
	l.Subscribers = r
	p.apply(l)
	c, code := p.open(echoServer(t))
	if code != 0 {
		t.Fatalf("told %d", code)
	}
	if n := r.Disconnect(subscribers.Matches{Name: "anna"}); n != 1 {
		t.Errorf("%d sessions are ended", n)
	}
	expectEnd(t, c)
	if rec := p.records.wait(t, 1)[0]; !errors.Is(rec.Err, ErrKicked) {
		t.Error(rec.Err)
	}
}

// TestOptionsOfASubscriber changes them while a connection lives.
func TestOptionsOfASubscriber(t *testing.T) {
	r := registry(t, subscribers.Policy{}, subscribers.Options{})
	l := socksListener(socks.Config{})
	l.Subscribers = r
	p := serve(t, Options{}, l)
	c, code := p.open(echoServer(t))
	if code != 0 {
		t.Fatalf("told %d", code)
	}
	send(t, c, []byte("four"))
	expect(t, c, "four")
	set, err := options.ParseSet("inactivity-timeout=90s")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := r.Change(subscribers.Matches{Name: "anna"}, subscribers.Changes{Options: &set})
	if err != nil || len(changed) != 1 {
		t.Fatalf("%d changed, %v", len(changed), err)
	}
	p.Reconsider(changed[0])
	p.single("the option", func(l *Live) bool { return l.Options != nil && l.Options.Granted() == set })
}
