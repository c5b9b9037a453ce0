// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/config"
)

// TestReloadKeepsHealth: an aggregator that is down stays so over a reload of
// something else, and is given another chance when its own section has changed.
func TestReloadKeepsHealth(t *testing.T) {
	t.Parallel()
	text := phones + `upstreams:
  - {name: hag, type: convert, servers: ["` + closedPort(t).String() + `"], when-down: refuse, health: {interval: 100ms, timeout: 100ms, fall: 2}}
`
	text = strings.Replace(text, "type: socks5,", "type: socks5, upstream: hag,", 1)
	l := startLocal(t, text)
	labtest.Await(t, patience, "the hop to be down", func() bool { return !l.status().Upstreams[0].Hops[0].Up })
	before := l.status().Upstreams[0].Hops[0]

	l.write("log: {level: debug}\n" + text)
	l.must("reload")
	if after := l.status().Upstreams[0].Hops[0]; after.Up || !after.Since.Equal(before.Since) || after.Failures < before.Failures || after.Checked == nil {
		t.Errorf("%+v before, %+v after the reload", before, after)
	}
	// It is still looked after.
	failures := l.status().Upstreams[0].Hops[0].Failures
	labtest.Await(t, patience, "more checks", func() bool { return l.status().Upstreams[0].Hops[0].Failures > failures })

	l.write(strings.Replace(text, "fall: 2", "fall: 3", 1))
	l.must("reload")
	if after := l.status().Upstreams[0].Hops[0]; after.Since.Equal(before.Since) {
		t.Errorf("%+v before, %+v after its section has changed", before, after)
	}
}

// TestKeptUpstreams: what was learnt of an upstream stays where nothing that
// matters to it has changed.
func TestKeptUpstreams(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	text := `
listeners:
  - {name: web, type: forward, listen: ["127.0.0.1:8080"], forward: {target: "127.0.0.1:80"}, upstream: hag}
upstreams:
  - {name: hag, type: convert, servers: ["127.0.0.1:8803"], when-down: refuse, convert: {bypass-mptcp-servers: true}}
  - {name: phones, type: socks5, servers: ["127.0.0.1:1080"], when-down: refuse, socks5: {user: ada, password-file: ` + file + `}}
`
	parse := func(t *testing.T, text string, before *setup) *setup {
		t.Helper()
		c, err := config.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSetup(c, slog.New(slog.DiscardHandler), before)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const interception = `  - {name: own, type: redirect, listen: ["127.0.0.1:8804"]}
upstreams:`
	for _, tt := range []struct {
		name        string
		change      func(string) string
		hag, phones bool // are kept
	}{
		{"nothing", func(s string) string { return s }, true, true},
		{"comment", func(s string) string { return "# text\n" + s }, true, true},
		{"other section", func(s string) string { return "log: {level: debug}\n" + s }, true, true},
		{"listener", func(s string) string { return strings.Replace(s, ":8080", ":8081", 1) }, true, true},
		{"server", func(s string) string { return strings.Replace(s, ":8803", ":8805", 1) }, false, true},
		{"paths", func(s string) string {
			return strings.Replace(s, "type: socks5,", "type: socks5, paths: {keep: 3m},", 1)
		}, true, false},
		{"name", func(s string) string { return strings.ReplaceAll(s, "hag", "far") }, false, true},
		{"password", func(s string) string { write("another"); return s }, true, false},
		{"mark of sockets", func(s string) string { return strings.Replace(s, "upstreams:", interception, 1) }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write("secret")
			before := parse(t, text, nil)
			after := parse(t, tt.change(text), before)
			for name, kept := range map[string]bool{"hag": tt.hag, "phones": tt.phones} {
				u, now := before.upstreams[name], after.upstreams[name]
				if same := now != nil && u.pool == now.pool && u.Upstream == now.Upstream; same != kept {
					t.Errorf("%s kept: %t, want %t", name, same, kept)
				}
			}
			if used := after.listeners[0].Upstream; tt.hag && used != before.listeners[0].Upstream {
				t.Errorf("the listener uses %v", used)
			}
		})
	}
}
