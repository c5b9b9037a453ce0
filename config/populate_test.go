// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

func parsed(t *testing.T, content string) *Config {
	t.Helper()
	c, err := Parse("FILE", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTimeoutsOfAListenerAreThoseOfAllUnlessGiven(t *testing.T) {
	c := parsed(t, `
listeners:
  - {name: a, type: socks5, listen: ["127.0.0.1:1080"], timeouts: {idle: 0s}}
  - {name: b, type: socks5, listen: ["127.0.0.1:1081"]}
timeouts: {connect: 3s}
`)
	want := defaults().Timeouts
	want.Connect = 3 * time.Second
	if got := c.Listeners[1].Timeouts; got != want {
		t.Errorf("b: %+v, want %+v", got, want)
	}
	want.Idle = 0
	if got := c.Listeners[0].Timeouts; got != want {
		t.Errorf("a: %+v, want %+v", got, want)
	}
}

func TestWhoMayUseAListener(t *testing.T) {
	c := parsed(t, `
listeners:
  - {name: loopback, type: convert, listen: ["127.0.0.1:1080", "[::1]:1080", "[::ffff:127.0.0.1]:1081"]}
  - {name: sources, type: tproxy, listen: ["0.0.0.0:8804"], tproxy: {sources: [192.0.2.0/24]}}
  - {name: own, type: redirect, listen: ["127.0.0.1:8805"]}
  - {name: given, type: socks5, listen: ["127.0.0.1:1082"], allow-from: [127.0.0.2]}
`)
	for i, want := range [][]netip.Prefix{
		selfOnly(), {netip.MustParsePrefix("192.0.2.0/24")}, everybody(), {netip.MustParsePrefix("127.0.0.2/32")},
	} {
		if d := compare(want, c.Listeners[i].AllowFrom); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.Listeners[i].Name, d)
		}
	}
}

func TestBothWildcardsOfOnePort(t *testing.T) {
	c := parsed(t, `
listeners:
  - {name: both, type: socks5, listen: ["[::]:1080", "0.0.0.0:1080"], allow-from: [192.0.2.0/24]}
  - {name: one, type: socks5, listen: ["[::]:1081"], allow-from: [192.0.2.0/24]}
`)
	if !c.Listeners[0].IPv6Only || c.Listeners[1].IPv6Only {
		t.Errorf("ipv6-only: %t beside an IPv4 address, %t alone", c.Listeners[0].IPv6Only, c.Listeners[1].IPv6Only)
	}
}

func TestDefaultsOfUpstreamsDependOnTheType(t *testing.T) {
	c := parsed(t, `
listeners:
  - {name: a, type: socks5, listen: ["127.0.0.1:1080"], upstream: hag}
  - {name: b, type: socks5, listen: ["127.0.0.1:1081"]}
upstreams:
  # The type comes last, and by an alias.
  - {name: hag, servers: ["192.0.2.1:8803"], when-down: direct, type: convert}
`)
	hag, direct := c.upstream("hag"), c.upstream("direct")
	if hag.MPTCP != mptcp.ModePrefer || !hag.FastOpen || hag.Health == nil || hag.Convert == nil {
		t.Errorf("hag: %+v", hag)
	}
	if direct == nil || direct.MPTCP != mptcp.ModeOff || direct.FastOpen || direct.Direct.Source != SourceOwn {
		t.Errorf("direct: %+v", direct)
	}
}

func TestPortsThatDoNotClash(t *testing.T) {
	parsed(t, `
listeners:
  - {name: a, type: socks5, listen: ["127.0.0.1:1080", "127.0.0.2:1080", "[::1]:1080", "127.0.0.1:0", "127.0.0.1:0"]}
  - {name: b, type: socks5, listen: ["[::]:1081"], ipv6-only: true, allow-from: [192.0.2.0/24]}
  - {name: c, type: socks5, listen: ["0.0.0.0:1081"], allow-from: [192.0.2.0/24]}
  - {name: d, type: socks5, listen: ["[fe80::1%eth0]:1082", "[fe80::1%eth1]:1082"], allow-from: ["fe80::/10"]}
  - {name: e, type: socks5, listen: ["0.0.0.0:1083"], allow-from: [192.0.2.0/24], socket: {device: eth0}}
  - {name: f, type: socks5, listen: ["0.0.0.0:1083"], allow-from: [192.0.2.0/24], socket: {device: eth1}}
`)
}

func TestWarnings(t *testing.T) {
	c := parsed(t, `listeners:
  - name: open
    type: socks5
    listen: ["192.0.2.1:1080"]
    allow-from: [0.0.0.0/0]
  - name: guarded
    type: socks5
    listen: ["192.0.2.1:1081"]
    allow-from: [0.0.0.0/0]
    socks5: {users: [{name: alice, password: secret}]}
  - name: converter
    type: convert
    listen: ["192.0.2.1:8803"]
    allow-from: ["::/0"]
    convert: {allow-loopback: true}
upstreams:
  - {name: idle, type: direct}
`)
	want := []string{
		"FILE:5:5: listeners[0].allow-from: everybody may use this listener",
		"FILE:10:46: listeners[1].socks5.users[0].password: whoever can read this file knows the password",
		"FILE:14:5: listeners[2].allow-from: everybody may use this listener",
		"FILE:15:31: listeners[2].convert.allow-loopback: clients may reach services that trust this machine",
		`FILE:17:5: upstreams[0]: no listener uses "idle"`,
	}
	var got []string
	for _, w := range c.Warnings {
		wrong, _, _ := strings.Cut(w.String(), ";")
		got = append(got, wrong)
	}
	if d := compare(want, got); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

func TestAliases(t *testing.T) {
	c := parsed(t, `
listeners:
  - {name: a, type: &kind socks5, listen: ["192.0.2.1:1080"], allow-from: &lan [192.0.2.0/24, 198.51.100.0/24]}
  - {name: b, type: *kind, listen: ["192.0.2.1:1081"], allow-from: *lan}
`)
	if c.Listeners[1].SOCKS5 == nil {
		t.Error("the type did not arrive through the alias")
	}
	if d := compare(c.Listeners[0].AllowFrom, c.Listeners[1].AllowFrom); d != "" {
		t.Errorf("the list did not arrive through the alias:\n%s", d)
	}
}

func TestAliasesCannotExplode(t *testing.T) {
	var b strings.Builder
	b.WriteString("listeners:\n  - allow-from: &l [")
	for i := range 2000 {
		fmt.Fprintf(&b, "10.%d.%d.0/24, ", i/256, i%256)
	}
	b.WriteString("]\n" + strings.Repeat("  - allow-from: *l\n", 200))
	_, err := Parse("FILE", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "want a smaller file") {
		t.Errorf("error %.200v", err)
	}
}
