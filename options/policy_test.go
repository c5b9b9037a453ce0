// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func must(t *testing.T, text string) Set {
	t.Helper()
	s, err := ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGrant(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	all := []Source{FromConvert, FromSOCKS, FromTCPOption}
	for _, c := range []struct {
		name     string
		defaults string
		own      string // the subscriber's
		client   string
		from     Source // FromSOCKS unless given
		operator string
		forbid   []Option
		max      string

		ownMax      string // the subscriber's caps
		ownForbid   []Option
		ownControls []string
		controls    []string
		accept      []Source // all unless given
		only        []netip.Prefix
		address     string // 192.0.2.1 unless given
		want        string
		answer      string
	}{
		{name: "nobody"},
		{name: "default", defaults: "scheduler=auto", want: "scheduler=auto (default, by listener)"},
		{name: "subscriber", defaults: "scheduler=auto", own: "scheduler=primary", want: "scheduler=primary (default, by subscriber)"},
		{
			name: "client", defaults: "scheduler=auto", own: "scheduler=primary", client: "scheduler=server",
			want: "scheduler=server (as asked, by socks)", answer: "scheduler=server",
		},
		{
			name: "operator", client: "scheduler=server", operator: "scheduler=primary",
			want: "scheduler=primary (asked server, as asked, by operator)", answer: "scheduler=primary",
		},
		{
			name: "capped", client: "subflow-rate-limit=2:40Mbit", max: "subflow-rate-limit=20Mbit",
			want:   "subflow-rate-limit=2:20Mbit (asked 2:40Mbit, capped, by socks: at most 20Mbit)",
			answer: "subflow-rate-limit=2:20Mbit",
		},
		{
			name: "no limit where there is none", client: "subflow-rate-limit=2:default", max: "subflow-rate-limit=20Mbit",
			want:   "subflow-rate-limit=2:default (as asked, by socks)",
			answer: "subflow-rate-limit=2:default",
		},
		{
			name: "no limit where there is one", defaults: "subflow-rate-limit=4Mbit", client: "subflow-rate-limit=default", max: "subflow-rate-limit=20Mbit",
			want:   "subflow-rate-limit=20Mbit (asked default, capped, by socks: at most 20Mbit)",
			answer: "subflow-rate-limit=20Mbit",
		},
		{
			name: "capped by the subscriber's policy", client: "subflow-rate-limit=40Mbit", max: "subflow-rate-limit=20Mbit", ownMax: "subflow-rate-limit=5Mbit",
			want:   "subflow-rate-limit=5Mbit (asked 40Mbit, capped, by socks: at most 5Mbit)",
			answer: "subflow-rate-limit=5Mbit",
		},
		{
			name: "the subscriber's policy does not widen", client: "inactivity-timeout=720h", ownMax: "inactivity-timeout=6h",
			want:   "inactivity-timeout=2h (asked 720h, capped, by socks: at most 2h)",
			answer: "inactivity-timeout=2h",
		},
		{
			name: "forbidden by the subscriber's policy", client: "scheduler=server", own: "scheduler=primary", ownForbid: []Option{Scheduler},
			want: "scheduler=primary (asked server, forbidden, by subscriber: forbidden by the subscriber's policy)",
		},
		{
			name: "too low", client: "subflow-rate-limit=1bit",
			want:   "subflow-rate-limit=64kbit (asked 1kbit, raised, by socks: less would stall the connection)",
			answer: "subflow-rate-limit=64kbit",
		},
		{
			name: "close every path", client: "subflow-rate-limit=0",
			want: "subflow-rate-limit=default (asked 0, out of range, by kernel: 0 closes one path: say which, as in 2:0)",
		},
		{
			name: "close the path it came on", client: "subflow-rate-limit=0", from: FromTCPOption,
			want: "subflow-rate-limit=0 (as asked, by tcp-option)", answer: "subflow-rate-limit=0",
		},
		{
			name: "safe without a cap", client: "inactivity-timeout=720h;initial-window=10000;user-timeout=24h",
			want: "inactivity-timeout=2h (asked 720h, capped, by socks: at most 2h); " +
				"initial-window=32 (asked 10000, capped, by socks: at most 32); " +
				"user-timeout=1h (asked 24h, capped, by socks: at most 1h)",
			answer: "inactivity-timeout=2h;initial-window=32;user-timeout=1h",
		},
		{
			name: "forbidden falls back to the default", defaults: "scheduler=auto", client: "scheduler=server", forbid: []Option{Scheduler},
			want: "scheduler=auto (asked server, forbidden, by listener: forbidden by the operator)",
		},
		{
			name: "operators are not bound", operator: "inactivity-timeout=720h", forbid: []Option{InactivityTimeout},
			want: "inactivity-timeout=720h (as asked, by operator)",
		},
		{
			name: "initial window of a stranger", client: "initial-window=20", address: "198.51.100.1",
			want: "initial-window=default (asked 20, untrusted, by kernel: the client's address is not trusted with it)",
		},
		{
			name: "initial window in a SYN", client: "initial-window=20", from: FromSYN,
			want: "initial-window=default (asked 20, untrusted, by kernel: the source of a SYN may be forged)",
		},
		{
			name: "congestion control", client: "congestion-control=bbr", controls: []string{"cubic", "reno"},
			want: "congestion-control=default (asked bbr, forbidden, by kernel: allowed are cubic, reno)",
		},
		{
			name: "congestion control of a subscriber", client: "congestion-control=bbr", ownControls: []string{"cubic", "reno"},
			want: "congestion-control=default (asked bbr, forbidden, by kernel: the subscriber's policy allows cubic, reno)",
		},
		{
			name: "both lists count", client: "congestion-control=cubic", controls: []string{"bbr"}, ownControls: []string{"cubic", "reno"},
			want: "congestion-control=default (asked cubic, forbidden, by kernel: allowed are bbr)",
		},
		{
			name: "in both lists", client: "congestion-control=cubic", controls: []string{"bbr", "cubic"}, ownControls: []string{"cubic", "reno"},
			want: "congestion-control=cubic (as asked, by socks)", answer: "congestion-control=cubic",
		},
		{
			name: "back to the kernel's own", defaults: "congestion-control=bbr", client: "congestion-control=default", ownControls: []string{"cubic"},
			want: "congestion-control=default (as asked, by socks)", answer: "congestion-control=default",
		},
		{
			name: "way not accepted", client: "scheduler=primary", accept: []Source{FromConvert},
			want: "scheduler=default (asked primary, forbidden, by kernel: this listener takes no options by socks)",
		},
		{
			name: "prefix not accepted", client: "scheduler=primary", only: trusted, address: "198.51.100.1",
			want: "scheduler=default (asked primary, forbidden, by kernel: the client's address may not ask for options)",
		},
		{name: "not understood", client: "scheduler=best", want: `"scheduler=best" (malformed: no such scheduler; want ` + scheduler.takes + `)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.accept == nil {
				c.accept = all
			}
			if c.address == "" {
				c.address = "192.0.2.1"
			}
			p := Policy{
				Defaults: must(t, c.defaults), Accept: c.accept, From: c.only,
				Caps: Caps{Forbid: c.forbid, Max: must(t, c.max), CongestionControls: c.controls, Trusted: trusted},
			}
			l := Layers{Subscriber: must(t, c.own), Operator: must(t, c.operator)}
			if c.ownMax != "" || len(c.ownForbid)+len(c.ownControls) > 0 {
				l.Own = &Caps{Max: must(t, c.ownMax), Forbid: c.ownForbid, CongestionControls: c.ownControls}
			}
			l.Ask(ParseRequest(c.client))
			if c.from != 0 {
				l.Client[0].From = c.from
			}
			g := p.Grant(netip.MustParseAddr(c.address), &l)
			if g.String() != c.want {
				t.Errorf("got  %s\nwant %s", g.String(), c.want)
			}
			if answer := g.ToClient(); answer.String() != c.answer {
				t.Errorf("answer %q, want %q", answer, c.answer)
			}
		})
	}
}

// TestForbid: each option can be forbidden by its name, to all clients or to those of
// a subscriber, and the others are granted as before.
func TestForbid(t *testing.T) {
	var every []string
	for o := range All() {
		every = append(every, o.String()+"="+o.Example())
	}
	all := strings.Join(every, ";")
	client := netip.MustParseAddr("192.0.2.1")
	open := Policy{Accept: []Source{FromSOCKS}, Caps: Caps{Trusted: []netip.Prefix{netip.PrefixFrom(client, 32)}}}
	if g := open.Grant(client, &Layers{Client: []Request{ParseRequest(all)}}); g.ToClient().String() != all || len(g.List) != Count {
		t.Fatalf("without a word of the operator: %s", &g)
	}
	for _, name := range Names() {
		o, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		listener, l := open, Layers{Client: []Request{ParseRequest(all)}}
		listener.Caps.Forbid = []Option{o}
		for i, g := range []Grants{listener.Grant(client, &l), open.Grant(client, &Layers{Client: l.Client, Own: &Caps{Forbid: []Option{o}}})} {
			if got, want := g.ToClient(), must(t, all).Without(o); got != want {
				t.Errorf("%s, %d: granted %q, want %q", name, i, got, want)
			}
			if one := g.List[o-Scheduler]; one.Option != o || one.Why != Forbidden || one.Granted != o.Default() {
				t.Errorf("%s, %d: %s", name, i, &one)
			}
		}
	}
}

func TestUnsupported(t *testing.T) {
	p := Policy{Accept: []Source{FromSOCKS}}
	g := p.Grant(netip.MustParseAddr("192.0.2.1"), &Layers{Client: []Request{ParseRequest("scheduler=redundant;user-timeout=1m")}})
	g.Apply([]Reason{{Option: Scheduler, Err: errors.New("the peer is no Tandem")}})
	want := "scheduler=default (asked redundant, unsupported, by socks: the peer is no Tandem); user-timeout=1m (as asked, by socks)"
	if g.String() != want {
		t.Errorf("got  %s\nwant %s", g.String(), want)
	}
	if g.ToClient().String() != "user-timeout=1m" {
		t.Errorf("answer %q", g.ToClient())
	}
	g.Apply([]Reason{{Option: UserTimeout, Err: errors.New("on one path only"), InForce: true}})
	if want = strings.Replace(want, "(as asked, by socks)", "(as asked, by socks: on one path only)", 1); g.String() != want {
		t.Errorf("got  %s\nwant %s", g.String(), want)
	}
	if refused, changed := g.Refused(); refused != 1 || changed != 0 {
		t.Errorf("%d refused, %d changed", refused, changed)
	}
}

func TestCheckOwn(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "subflow-rate-limit=2:0": true, "subflow-rate-limit=64kbit": true, "subflow-rate-limit=default": true,
		"subflow-rate-limit=0": false, "subflow-rate-limit=2:63kbit": false,
	} {
		if err := CheckOwn(must(t, text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAskingAgain(t *testing.T) {
	p := Policy{Accept: []Source{FromSOCKS}}
	var l Layers
	l.Ask(ParseRequest("scheduler=primary;delay-threshold=20ms"))
	l.Ask(ParseRequest("scheduler=server"))
	l.Ask(Request{From: FromTCPOption, Set: must(t, "delay-threshold=30ms")})
	g := p.Grant(netip.MustParseAddr("192.0.2.1"), &l)
	want := "scheduler=server (as asked, by socks); " +
		"delay-threshold=20ms (asked 30ms, forbidden, by socks: this listener takes no options by tcp-option)"
	if len(l.Client) != 2 || g.String() != want {
		t.Errorf("got  %s\nwant %s", g.String(), want)
	}
}
