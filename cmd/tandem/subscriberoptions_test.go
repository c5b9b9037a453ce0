// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestOptionsOfSubscribers: a policy of the configuration says which options
// connections have, and bounds what clients ask for.
func TestOptionsOfSubscribers(t *testing.T) {
	t.Parallel()
	l := startLocal(t, `subscribers:
  list: [{name: ada, password: secret, policy: gold}, {name: bob, password: secret}]
  policies:
    - name: gold
      options: {defaults: {inactivity-timeout: 10m}, caps: {inactivity-timeout: 20m}, forbid: [user-timeout], congestion-controls: [reno]}
listeners:
  - name: phones
    type: socks5
    listen: ["127.0.0.1:0"]
    destinations: {allow: [127.0.0.0/8]}
    subscribers: required
    options: {accept: [socks]}
`)
	server := echoServer(t)
	for user, want := range map[string]string{
		"ada":                          "inactivity-timeout=10m default by subscriber",
		"ada;inactivity-timeout=1h":    "inactivity-timeout=20m capped by socks: at most 20m",
		"bob;inactivity-timeout=1h":    "inactivity-timeout=1h as asked by socks",
		"ada;user-timeout=1m":          "user-timeout=default forbidden by kernel: forbidden by the subscriber's policy",
		"ada;congestion-control=cubic": "congestion-control=default forbidden by kernel: the subscriber's policy allows reno",
		"ada;congestion-control=reno":  "congestion-control=reno as asked by socks",
		"bob;congestion-control=cubic": "congestion-control=cubic as asked by socks",
		"bob":                          "",
	} {
		c := l.tunnel(l.address("phones"), user, mptcp.ModeOff, server)
		name, _, _ := strings.Cut(user, ";")
		var got []string
		for _, one := range l.connections("--user", name) {
			if one.Options == nil {
				continue
			}
			for _, o := range one.Options.Options {
				got = append(got, fmt.Sprintf("%s=%s %s by %s: %s", o.Option, o.Value, o.Why, o.By, o.Detail))
			}
		}
		if text := strings.Join(got, "; "); !strings.Contains(text, want) || want == "" && text != "" {
			t.Errorf("%s: %q, want %q", user, text, want)
		}
		c.Close()
		labtest.Await(t, patience, "the connection to end", func() bool { return l.status().Connections.Active == 0 })
	}
	out := l.must("explain", "127.0.0.1", "127.0.0.1", "80", "--user", "ada", "--options", "inactivity-timeout=1h")
	if !strings.Contains(out, "at most 20m") {
		t.Errorf("explained:\n%s", out)
	}
}
