// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestSetMany changes options of those connections that are meant, and no others.
func TestSetMany(t *testing.T) {
	t.Parallel()
	l := startLocal(t, `subscribers:
  list: [{name: ada, password: secret, policy: gold}, {name: bob, password: secret}]
  policies: [{name: gold}]
listeners:
  - {name: phones, type: socks5, listen: ["127.0.0.1:0"], destinations: {allow: [127.0.0.0/8]}, subscribers: required, timeouts: {handshake: 10m}}
`)
	through, server := l.address("phones"), echoServer(t)
	for _, user := range []string{"ada", "ada", "ada", "bob", "bob"} {
		l.tunnel(through, user, mptcp.ModeOff, server)
	}
	waiting, err := net.Dial("tcp", through.String()) // does not say who it is
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	labtest.Await(t, patience, "the one that waits", func() bool { return l.status().Connections.Active == 6 })

	timeouts := func() string {
		t.Helper()
		with := map[string]string{}
		for _, c := range l.connections("--sort", "id") {
			if o := c.Options.Of("inactivity-timeout"); o != nil {
				with[c.User] += o.Value + " "
			}
		}
		return strings.TrimSpace(fmt.Sprint(with))
	}
	for _, tt := range []struct{ args, prints, then string }{
		{"--policy gold --dry-run inactivity-timeout=20m", "would change 3 of 3 matching connections\n", "map[]"},
		{"--policy gold inactivity-timeout=20m", "changed 3 of 3 matching connections\n", "map[ada:20m 20m 20m ]"},
		{"--user bob --client 127.0.0.0/8 inactivity-timeout=30m", "changed 2 of 2 matching connections\n", "map[ada:20m 20m 20m  bob:30m 30m ]"},
		{"--policy default --clear inactivity-timeout", "changed 2 of 2 matching connections\n", "map[ada:20m 20m 20m ]"},
		{"--server 192.0.2.0/24 --clear all", "changed 0 of 0 matching connections\n", "map[ada:20m 20m 20m ]"},
		{"--listener phones --clear all", "changed 3 of 6 matching connections\n  2: had nothing to take back\n  1: not relayed yet, or no longer\n", "map[]"},
		{"--server " + server.Addr().String() + " inactivity-timeout=1h", "changed 5 of 5 matching connections\n", "map[ada:1h 1h 1h  bob:1h 1h ]"},
	} {
		if out := l.must(append([]string{"set"}, strings.Fields(tt.args)...)...); out != tt.prints {
			t.Errorf("tandem set %s prints\n%s", tt.args, out)
		}
		if got := timeouts(); got != tt.then {
			t.Errorf("tandem set %s: %s, want %s", tt.args, got, tt.then)
		}
	}

	// What cannot be in force is told by reason, and the rest is.
	out, said, err := l.run("set", "--json", "--all", "--clear", "inactivity-timeout", "scheduler=primary")
	var changed admin.Changed
	if json.Unmarshal([]byte(out), &changed) != nil || changed.Matched != 6 || changed.NotRelayed != 1 || changed.Changed != 0 || len(changed.Refused) != 1 {
		t.Errorf("%s", out)
	}
	for why, n := range changed.Refused {
		if n != 5 || !strings.HasPrefix(why, "scheduler is not in force: ") {
			t.Errorf("%d: %s", n, why)
		}
	}
	if err == nil || !strings.Contains(said, "not all is in force") {
		t.Errorf("%v, says %q", err, said)
	}
	if got := timeouts(); got != "map[]" {
		t.Errorf("%s was not taken back", got)
	}
	for _, args := range []string{
		"operator has changed options of connections",
		"matched=6 changed=3 unchanged=2 not_relayed=1",
		"PATCH /v1/connections/options?policy=gold",
	} {
		if !strings.Contains(l.log.String(), args) {
			t.Errorf("%q is not in the log", args)
		}
	}

	for args, words := range map[string]string{
		"scheduler=primary":                                      "is no token",
		"--dry-run 12345678 scheduler=primary":                   "--dry-run is for many connections",
		"--all --user ada scheduler=primary":                     "not both",
		"--all":                                                  "want options to set, or --clear",
		"--user ada 12345678 scheduler=primary":                  "a token is for a single connection",
		"--id 1 --all scheduler=primary":                         "not both",
		"--all scheduler=fast":                                   "no such scheduler",
		"--all subflow-rate-limit=0":                             "say which",
		"--client example.com inactivity-timeout=1m":             "example.com",
		"--all --clear inactivity-timeout inactivity-timeout=1m": "to be set and to be taken back",
	} {
		l.mustNot([]string{words}, append([]string{"set"}, strings.Fields(args)...)...)
	}
}
