// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	socks5 "github.com/armon/go-socks5"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func toSOCKS(addr netip.AddrPort, mode mptcp.Mode, c socks.Client) *SOCKSHop {
	return NewSOCKSHop("next", []netip.AddrPort{addr}, mptcp.ConnectOptions{Mode: mode}, c, options.Set{})
}

func TestThroughSOCKS(t *testing.T) {
	server := echoServer(t)
	users := socks5.StaticCredentials{"ada": "secret"}
	for name, test := range map[string]struct {
		server socks.Config
		client socks.Client
	}{
		"step by step":           {},
		"eager":                  {client: socks.Client{Eager: true}},
		"user":                   {socks.Config{Users: users}, socks.Client{User: "ada", Password: "secret"}},
		"user, eager":            {socks.Config{Users: users}, socks.Client{User: "ada", Password: "secret", Eager: true}},
		"user that nobody wants": {client: socks.Client{User: "ada", Password: "secret"}},
	} {
		for _, target := range []string{request(socks.Connect, server), requestName("localhost", server.Port())} {
			t.Run(name, func(t *testing.T) {
				next := serve(t, Options{}, socksListener(test.server))
				hop := toSOCKS(next.addr, mptcp.ModeRequire, test.client)
				p := serve(t, Options{}, through(only{hop}))
				c := dialProxy(t, p.addr, mptcp.ModePrefer)
				send(t, c, []byte(hello+target+"early"))
				expect(t, c, welcome)
				if code, _ := readReply(t, c); code != socks.Succeeded {
					t.Fatalf("reply %q", code)
				}
				expect(t, c, "early")
				exchange(t, c, "words")
				p.quiescent()
				if r := p.records.wait(t, 1)[0]; r.Hop != "next" || !r.ServerMPTCP.MPTCP || r.Up != 10 || r.Down != 10 {
					t.Errorf("record %+v", r)
				}
				// Names are for the one who connects to resolve.
				if r := next.records.wait(t, 1)[0]; r.Host != p.records.wait(t, 1)[0].Host || r.Server != server {
					t.Errorf("record %+v", r)
				}
				if err := hop.Check(t.Context()); err != nil {
					t.Errorf("check: %v", err)
				}
				// A client that is admitted and asks for nothing is none that was refused.
				if s := next.quiescent(); s.Relayed != 2 || len(s.Refused) > 0 {
					t.Errorf("%d served, refused %v", s.Relayed, s.Refused)
				}
				if r := next.records.wait(t, 2)[1]; r.Command != Inform || !r.Served || r.Err != nil {
					t.Errorf("record of the check %+v", r)
				}
			})
		}
	}
}

func TestErrorsThroughSOCKS(t *testing.T) {
	up, gone := echoServer(t), echoServerGone(t)
	deny, err := policy.NewDestinations(policy.DestinationsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	denying := socksListener(socks.Config{})
	denying.Destinations = deny
	users := socks.Config{Users: socks5.StaticCredentials{"ada": "secret"}}
	for name, test := range map[string]struct {
		next   netip.AddrPort
		target netip.AddrPort
		code   socks.Code
		reason string
		check  error // nil: the proxy is there
	}{
		"server refuses":  {serve(t, Options{}, socksListener(socks.Config{})).addr, gone, socks.ConnectionRefused, "server", nil},
		"proxy denies":    {serve(t, Options{}, denying).addr, up, socks.NotAllowed, "destination", nil},
		"proxy is gone":   {gone, up, socks.GeneralFailure, "upstream", errAny},
		"wrong password":  {serve(t, Options{}, socksListener(users)).addr, up, socks.GeneralFailure, "upstream", socks.ErrAuthentication},
		"it is something": {up, up, socks.GeneralFailure, "upstream", errAny},
	} {
		for _, eager := range []bool{false, true} {
			hop := toSOCKS(test.next, mptcp.ModePrefer, socks.Client{User: "ada", Password: "wrong", Eager: eager})
			if test.check == nil {
				hop.client.User = ""
			}
			p := serve(t, Options{}, through(only{hop}))
			c, code := ask(t, p.addr, test.target)
			if code != test.code {
				t.Errorf("%s: reply %q, want %q", name, code, test.code)
			}
			expectEnd(t, c)
			c.Close()
			if s := p.quiescent(); s.Refused[test.reason] != 1 {
				t.Errorf("%s: refused %v", name, s.Refused)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := hop.Check(ctx); (err == nil) != (test.check == nil) || test.check != errAny && !errors.Is(err, test.check) {
				t.Errorf("%s: check: %v", name, err)
			}
			cancel()
		}
	}
}

// errAny stands for whatever error it is.
var errAny = errors.New("some error")
