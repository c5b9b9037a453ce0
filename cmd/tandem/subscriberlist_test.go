// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// gold are phones whose users are subscribers.
var gold = `subscribers:
  policies: [{name: gold, quota: {size: 1MB, period: day, reduced-rate: 1Gbit}, rate-down: 100Mbit}]
  list: [{name: ada, password: secret, policy: gold}, {name: bob, password: secret}]
listeners:
  - {name: phones, type: socks5, listen: ["127.0.0.1:0"], subscribers: required, destinations: {allow: [127.0.0.0/8]}}
`

// TestSubscribers lists those that have connections.
func TestSubscribers(t *testing.T) {
	t.Parallel()
	l := startLocal(t, gold)
	if got := l.must("subscribers", "--json"); got != "" {
		t.Errorf("before anybody has come: %s", got)
	}
	server := echoServer(t)
	ada := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, server)
	bob := l.tunnel(l.address("phones"), "bob", mptcp.ModeOff, server)
	defer bob.Close()
	list := func(flags ...string) (all []admin.Subscriber) {
		t.Helper()
		for line := range strings.Lines(l.must(append([]string{"subscribers", "--json"}, flags...)...)) {
			var s admin.Subscriber
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			all = append(all, s)
		}
		return all
	}
	all := list("--sort", "name")
	if len(all) != 2 || all[0].Name != "ada" || all[0].Policy != "gold" || all[0].Connections != 1 || all[0].Up != uint64(len(stillThere)) ||
		all[0].Quota == nil || all[0].Quota.Used != 2*uint64(len(stillThere)) || all[0].Quota.Over || all[0].RateDown != 12_500_000 ||
		all[1].Name != "bob" || all[1].Policy != "default" || all[1].Quota != nil {
		t.Errorf("%+v", all)
	}
	if got := list("--policy", "gold"); len(got) != 1 || got[0].Name != "ada" {
		t.Errorf("with the policy: %+v", got)
	}
	if got := list("--over"); len(got) > 0 {
		t.Errorf("over their quota: %+v", got)
	}

	// More than the quota, and back.
	drain := make(chan struct{})
	go func() {
		defer close(drain)
		buffer := make([]byte, 64<<10)
		for n := 0; n < 1<<20; {
			m, err := ada.Read(buffer)
			if err != nil {
				t.Error(err)
				return
			}
			n += m
		}
	}()
	if _, err := ada.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	<-drain
	if got := list("--over"); len(got) != 1 || got[0].Name != "ada" || !got[0].Quota.Over {
		t.Errorf("over their quota: %+v", got)
	}
	stdout, stderr, err := l.run("subscribers", "--sort", "used", "--limit", "1")
	if err != nil || !strings.Contains(stderr, "there are more than 1") || !strings.Contains(stdout, "2.1 MB of 1.0 MB/day, over") || strings.Contains(stdout, "bob") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if s := l.status().Subscribers; s == nil || s.Active != 2 || s.Over != 1 || s.Policies["gold"] != 1 || s.Policies["default"] != 1 {
		t.Errorf("%+v", s)
	}
	if text := l.must("status"); !strings.Contains(text, "subscribers    2 active, 1 over their quota") {
		t.Errorf("%s", text)
	}

	ada.Close()
	labtest.Await(t, patience, "the connection to end", func() bool {
		all := list("--name", "ada")
		return len(all) == 1 && all[0].Connections == 0
	})
	l.mustNot([]string{"--sort size: want none, name"}, "subscribers", "--sort", "size")
}

// TestConnectionsLargest has a limit leave the smallest out, if there is an order.
func TestConnectionsLargest(t *testing.T) {
	t.Parallel()
	l := startLocal(t, phones)
	server := echoServer(t)
	for range 3 {
		c := l.tunnel(l.address("phones"), "ada", mptcp.ModeOff, server)
		defer c.Close()
	}
	var ids []uint64
	for _, c := range l.connections("--sort", "id") {
		ids = append(ids, c.ID)
	}
	stdout, stderr, err := l.run("connections", "--json", "--sort", "id", "--limit", "2")
	var got []uint64
	for line := range strings.Lines(stdout) {
		var c admin.Connection
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		got = append(got, c.ID)
	}
	if err != nil || !strings.Contains(stderr, "more than 2") || len(ids) != 3 || !slices.Equal(got, ids[1:]) {
		t.Errorf("%v of %v, %v: %s", got, ids, err, stderr)
	}
}
