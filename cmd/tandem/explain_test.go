// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	socks5 "golang.org/x/net/proxy"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// explain asks a tandem on this machine, and returns what one listener would do.
func (l *local) explain(listener, source string, server netip.AddrPort) admin.Verdict {
	l.t.Helper()
	client := admin.NewClient(l.socket)
	defer client.Close()
	x, err := client.Explain(l.t.Context(), admin.Question{
		Source: netip.MustParseAddr(source), Destination: server.Addr().String(), Port: server.Port(), Listener: listener,
	})
	if err != nil || len(x.Listeners) != 1 {
		l.t.Fatalf("%v: %+v", err, x)
	}
	return x.Listeners[0]
}

// from dials from a loopback address.
type from string

func (f from) Dial(network, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(string(f))}, Timeout: patience}
	return d.Dial(network, address)
}

// TestExplainAgrees asks what would happen, and then has it happen.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	server, forbidden := echoServer(t), echoServer(t)
	l := startLocal(t, fmt.Sprintf(`
limits: {per-source: {connections: 1}}
subscribers:
  policies:
    - {name: few, destinations: {allow: [127.0.0.0/8], deny: ["127.0.0.0/8 ports %d"]}, connections: 1}
  list: [{name: ada, sources: [127.2.0.0/16], policy: few}]
listeners:
  - name: phones
    type: socks5
    listen: ["127.0.0.1:0"]
    allow-from: [127.0.0.1, 127.1.0.0/16, 127.2.0.0/16]
    subscribers: optional
    destinations: {allow: [127.0.0.0/8], deny: ["127.0.0.1 ports 9"]}
  - {name: gone, type: socks5, listen: ["127.0.0.1:0"], upstream: gone, destinations: {allow: [127.0.0.0/8]}}
upstreams:
  - {name: gone, type: socks5, servers: ["%s"], when-down: refuse, health: {interval: 100ms, timeout: 100ms, fall: 1}}
`, forbidden.Port(), closedPort(t)))
	phones := l.address("phones")
	labtest.Await(t, patience, "the hop to be down", func() bool {
		s := l.status()
		return len(s.Upstreams) == 2 && len(s.Upstreams[0].Hops) == 1 && !s.Upstreams[0].Hops[0].Up
	})
	held := func(source string) net.Conn {
		t.Helper()
		client, err := socks5.SOCKS5("tcp", phones.String(), nil, from(source))
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial("tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c)
		return c
	}
	defer held("127.1.0.9").Close()
	defer held("127.2.0.9").Close()
	denied := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 9)
	for _, test := range []struct {
		source   string
		server   netip.AddrPort
		outcome  string
		rule     string
		listener string
	}{
		{"127.1.0.1", server, admin.Served, "listener phones: allow 127.0.0.0/8", "phones"},
		{"127.3.0.1", server, admin.Refused, "allow-from", "phones"},
		{"127.1.0.1", denied, admin.Refused, "listener phones: deny 127.0.0.1/32 ports 9", "phones"},
		{"127.2.0.1", forbidden, admin.Refused, "policy few: subscriber", "phones"},
		{"127.1.0.1", forbidden, admin.Served, "listener phones: allow 127.0.0.0/8", "phones"},
		{"127.1.0.9", server, admin.Refused, "limits: per-source", "phones"},
		{"127.0.0.1", server, admin.Refused, "when-down: refuse", "gone"},
	} {
		v := l.explain(test.listener, test.source, test.server)
		if v.Outcome != test.outcome || v.Rule != test.rule {
			t.Errorf("%s to %s: %+v, want %s by %s", test.source, test.server, v, test.outcome, test.rule)
		}
		client, err := socks5.SOCKS5("tcp", l.address(test.listener).String(), nil, from(test.source))
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.Dial("tcp", test.server.String())
		if (err == nil) != (test.outcome == admin.Served) {
			t.Errorf("%s to %s: explained as %s, and then: %v", test.source, test.server, v.Outcome, err)
		}
		if err == nil {
			c.Close()
			labtest.Await(t, patience, "the connection to be gone", func() bool { return l.status().Connections.Active == 2 })
		}
	}
	var printed admin.Explanation
	if err := json.Unmarshal([]byte(l.must("explain", "--json", "127.2.0.9", forbidden.String())), &printed); err != nil || len(printed.Listeners) != 2 {
		t.Errorf("%+v, %v", printed, err)
	}
	text := l.must("explain", "127.2.0.9", forbidden.String())
	for _, words := range []string{
		"listener phones (socks5): would be refused (limits: per-source)", "yes  allow-from 127.2.0.0/16",
		"1 of 1 from 127.2.0.9/32", "listener gone (socks5): would be refused (limits: per-source)",
	} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is not in\n%s", words, text)
		}
	}
	l.mustNot([]string{`there is no listener "phone"`}, "explain", "127.0.0.1", "127.0.0.1:1", "--listener", "phone")
	l.mustNot([]string{`"here" is no source`}, "explain", "here", "127.0.0.1:1")
	l.mustNot([]string{`"127.0.0.1" has no port`}, "explain", "127.0.0.1", "127.0.0.1")
	l.mustNot([]string{`"0" is no port`}, "explain", "127.0.0.1", "127.0.0.1", "0")
}

// TestExplainInterception asks a home gateway what becomes of its LAN's
// connections, and of its own.
func TestExplainInterception(t *testing.T) {
	t.Parallel()
	operator, place := operatorAt(t, 0)
	asking := strings.Replace(cpe, "    when-down: refuse\n", "    when-down: refuse\n    ask: {options: {scheduler: primary}}\n", 1)
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1000, aggregator, place+strings.Replace(asking, "interfaces: [lan]", "interfaces: [lan], exclude: {destinations: [192.0.2.128/25], ports: [25]}", 1))
	for _, test := range []struct {
		source      netip.Addr
		destination string
		port        uint16
		outcome     string
		rule        string
	}{
		{h.ClientAddr.V4, h.v4.Addr().String(), 80, admin.Served, "listener lan: default allow"},
		{h.ClientAddr.V6, h.v6.Addr().String(), 80, admin.Served, "listener lan: default allow"},
		{h.ClientAddr.V4, "192.0.2.200", 80, admin.Passed, "excluded destination (192.0.2.128/25)"},
		{h.ClientAddr.V4, h.v4.Addr().String(), 25, admin.Passed, "excluded port (25)"},
		{h.ClientAddr.V4, "192.0.2.1", 8803, admin.Passed, "address of an upstream (192.0.2.1/32)"},
		{h.v4.Addr(), h.v4.Addr().String(), 80, admin.Passed, "not from an interface of clients"},
		{h.DSL.Addr.V4, h.v4.Addr().String(), 80, admin.Passed, "type: tproxy"},
	} {
		x, err := operator.Explain(t.Context(), admin.Question{Source: test.source, Destination: test.destination, Port: test.port})
		if err != nil {
			t.Fatal(err)
		}
		if v := x.Listeners[0]; v.Outcome != test.outcome || v.Rule != test.rule {
			t.Errorf("%v to %s port %d: %+v, want %s by %s", test.source, test.destination, test.port, v, test.outcome, test.rule)
		} else if asked := (admin.Ruling{
			Stage: "option", Verdict: "passes", Rule: "ask.options", Detail: "hag/192.0.2.1:8803 is asked for scheduler=primary, by convert",
		}); slices.Contains(v.Rulings, asked) != (test.outcome == admin.Served) {
			t.Errorf("%v: %+v, want %+v where it is served", test.source, v, asked)
		}
	}
}
