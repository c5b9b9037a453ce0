// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/trace/packet"
)

// TestPhoneAsksForOptions has tandem on a phone ask in all ways, and looks at
// which links carry a download then.
func TestPhoneAsksForOptions(t *testing.T) {
	t.Parallel()
	const size = 8_000_000 // long enough to look at on a busy machine
	c := newChooser(t, equalLinks, granting, size)
	c.needSteering()
	tests := []struct {
		name, upstream string
		by             string
		granted        string // option=value of the one that is asked for
		least, most    float64
	}{
		{"nothing", `type: socks5, servers: ["192.0.2.1:1080"]`, "", "", 0.3, 0.7},
		{"primary", bySOCKS("scheduler: primary"), "socks", "scheduler=primary", 0, 0.2},
		{"weighted", byConvert(`scheduler: "weighted:80,20"`), "convert", "scheduler=weighted:80,20", 0.08, 0.35},
		{"rate limit", bySOCKS(`subflow-rate-limit: "2:2Mbit"`), "socks", "subflow-rate-limit=2:2Mbit", 0.01, 0.25},
		{"delay threshold", byConvert("delay-threshold: 10s"), "convert", "delay-threshold=10s", 0, 0.2},
		{"primary by TCP option", byTCPOption("scheduler: primary"), "tcp-option", "scheduler=primary", 0, 0.2},
	}
	var upstreams []string
	for _, tt := range tests {
		upstreams = append(upstreams, tt.upstream)
	}
	_, phone, _ := c.tandem(c.Client, asker(upstreams...))
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if share := c.shareAsked(phone, 1081+i, tt.by, tt.granted); share < tt.least || share > tt.most {
				t.Errorf("the second path carried %.1f %%, want %.0f to %.0f %%", 100*share, 100*tt.least, 100*tt.most)
			}
		})
	}
}

// TestOptionsOfSockets asks for several options at once and looks at sockets and
// at the wire.
func TestOptionsOfSockets(t *testing.T) {
	t.Parallel()
	c := newChooser(t, equalLinks, granting, 100_000_000)
	c.needSteering()
	_, phone, _ := c.tandem(c.Client, asker(byConvert("congestion-control: reno, user-timeout: 77s, initial-window: 20, delayed-ack: 25%, inactivity-timeout: 2h")))
	packets := labtest.Capture(t, c.Client, "wifi", "tcp and src 192.0.2.1")
	done, end := c.download("--proxy", "socks5h://127.0.0.1:1081")
	one := c.await(c.operator, "the options", func(one *admin.Connection) bool { return one.Options != nil })
	for _, want := range []admin.ConnectionOption{
		{Option: "congestion-control", Value: "reno", Asked: "reno", By: "convert", Why: "as asked"},
		{Option: "user-timeout", Value: "1m17s", Asked: "1m17s", By: "convert", Why: "as asked"},
		{Option: "initial-window", Value: "20", Asked: "20", By: "convert", Why: "as asked"},
		{Option: "inactivity-timeout", Value: "1h", Asked: "2h", By: "convert", Why: "capped", Detail: "at most 1h"},
		{Option: "delayed-ack", Value: "default", Asked: "25%", By: "kernel", Why: "forbidden", Detail: "forbidden by the operator"},
	} {
		if got := one.Options.Of(want.Option); got == nil || *got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	asked := c.await(phone, "the answer", func(one *admin.Connection) bool { return one.AskedOfHop != nil && one.AskedOfHop.Answered }).AskedOfHop
	if asked.Granted["inactivity-timeout"] != "1h" || asked.Granted["delayed-ack"] != "" || len(asked.Granted) != 4 {
		t.Errorf("the phone knows of %v", asked.Granted)
	}
	labtest.Await(t, patience, "reno on the sockets of the aggregator", func() bool { return strings.Contains(c.sockets(c.Aggregator), " reno.") })
	end()
	<-done
	segments, err := packets.Stop()
	if err != nil {
		t.Fatal(err)
	}
	const userTimeout = 28 // RFC 5482
	if !slices.ContainsFunc(segments, func(s packet.Segment) bool {
		value, ok := s.Options.Find(userTimeout)
		return ok && slices.Equal(value, []byte{0, 77})
	}) {
		t.Error("the aggregator has not told its user timeout")
	}
	awaitLog(t, c.aggregator, "options of a connection", "level=INFO", "capped")
	if n := countLogged(c.aggregator, "options of a connection"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// TestCurlAsksForOptions asks behind the user name, as any SOCKS5 client can, at
// listeners that honour that and at others.
func TestCurlAsksForOptions(t *testing.T) {
	t.Parallel()
	c := newChooser(t, lab.TwoPathSpec{}, `
listeners:
  - {name: all, type: socks5, listen: ["192.0.2.1:1080"], allow-from: [198.51.100.0/24], options: {accept: [socks], caps: {inactivity-timeout: 10m}, forbid: [user-timeout], defaults: {inactivity-timeout: 3m}}}
  - {name: nobody, type: socks5, listen: ["192.0.2.1:1081"], allow-from: [198.51.100.0/24], options: {accept: [convert], defaults: {inactivity-timeout: 3m}}}
  - {name: others, type: socks5, listen: ["192.0.2.1:1082"], allow-from: [198.51.100.0/24], options: {accept: [socks], from: [203.0.113.0/24]}}
`, 100_000_000)
	for _, tt := range []struct {
		name, port, user string
		want             []admin.ConnectionOption
		mistakes         int
	}{
		{"capped and forbidden", "1080", ";inactivity-timeout=8760h;user-timeout=1m;inactivity-timeout=20m;speed=9", []admin.ConnectionOption{
			{Option: "inactivity-timeout", Value: "10m", Asked: "20m", By: "socks", Why: "capped", Detail: "at most 10m"},
			{Option: "user-timeout", Value: "default", Asked: "1m", By: "kernel", Why: "forbidden", Detail: "forbidden by the operator"},
		}, 2},
		{"not trusted", "1080", ";initial-window=10000", []admin.ConnectionOption{
			{Option: "inactivity-timeout", Value: "3m", By: "listener", Why: "default"},
			{Option: "initial-window", Value: "default", Asked: "10000", By: "kernel", Why: "untrusted", Detail: "the client's address is not trusted with it"},
		}, 0},
		{"another way", "1081", ";inactivity-timeout=1m", []admin.ConnectionOption{
			{Option: "inactivity-timeout", Value: "3m", By: "listener", Why: "default"},
		}, 0},
		{"from elsewhere", "1082", ";inactivity-timeout=1m", []admin.ConnectionOption{
			{Option: "inactivity-timeout", Value: "default", Asked: "1m", By: "kernel", Why: "forbidden", Detail: "the client's address may not ask for options"},
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A client that takes its time, so that there is some to look at it.
			done, end := c.download("--limit-rate", "1M", "--proxy", "socks5h://192.0.2.1:"+tt.port, "--proxy-user", tt.user+":-")
			one := c.await(c.operator, "the options", func(one *admin.Connection) bool { return one.Options != nil })
			end()
			<-done
			if !slices.Equal(one.Options.Options, tt.want) || len(one.Options.Mistakes) != tt.mistakes {
				t.Errorf("got %+v\nwant %+v and %d mistakes", one.Options, tt.want, tt.mistakes)
			}
			labtest.Await(t, patience, "the end", func() bool {
				s, err := c.operator.Status(t.Context())
				return err == nil && s.Connections.Active == 0
			})
		})
	}

	// What new connections have changes with the configuration; those that are
	// there keep what they have.
	done, end := c.download("--limit-rate", "1M", "--proxy", "socks5h://192.0.2.1:1081")
	old := c.await(c.operator, "the old default", func(one *admin.Connection) bool { return one.Options != nil })
	text, err := os.ReadFile(c.aggregator.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.aggregator.Write(strings.ReplaceAll(string(text), "inactivity-timeout: 3m", "inactivity-timeout: 4m")); err != nil {
		t.Fatal(err)
	}
	if err := c.aggregator.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, c.aggregator, "configuration reloaded")
	doneToo, endToo := c.download("--limit-rate", "1M", "--proxy", "socks5h://192.0.2.1:1081")
	c.await(c.operator, "the new default", func(one *admin.Connection) bool {
		o := one.Options.Of("inactivity-timeout")
		return o != nil && one.ID != old.ID && o.Value == "4m" && o.By == "listener"
	})
	c.await(c.operator, "the old connection as it was", func(one *admin.Connection) bool {
		o := one.Options.Of("inactivity-timeout")
		return o != nil && one.ID == old.ID && o.Value == "3m"
	})
	end()
	endToo()
	<-done
	<-doneToo
}

// TestOperatorChoosesLive has tandem set lead a download away from one path and
// back.
func TestOperatorChoosesLive(t *testing.T) {
	t.Parallel()
	c := newChooser(t, equalLinks, granting, 60_000_000)
	c.needSteering()
	c.tandem(c.Client, asker(`type: convert, servers: ["192.0.2.1:8803"]`))
	done, end := c.download("--proxy", "socks5h://127.0.0.1:1081")
	before := counters(t, c.links()...)
	c.awaitDown(before, 2_000_000)
	one := c.await(c.operator, "the connection", func(one *admin.Connection) bool { return one.Client.MPTCP })
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &local{t: t, program: []string{program}, socket: c.socket}
	set := func(args ...string) string {
		return l.must(append([]string{"set", one.Client.Token.String()}, args...)...)
	}
	share := func() float64 {
		// What was on its way to the path before is not looked at.
		before := counters(t, c.links()...)
		c.awaitDown(before, 1_000_000)
		before = counters(t, c.links()...)
		c.awaitDown(before, 2_000_000)
		return c.cellShare(before)
	}
	if out := set("scheduler=primary", "user-timeout=1h"); !strings.Contains(out, "operator  as asked") {
		t.Errorf("tandem set prints\n%s", out)
	}
	if got := share(); got > 0.2 {
		t.Errorf("primary: the second path carried %.1f %%", 100*got)
	}
	if out := l.must("set", "--server", c.addr.Addr().String(), "scheduler=default", "subflow-rate-limit=2:2Mbit"); out != "changed 1 of 1 matching connection\n" {
		t.Errorf("tandem set prints\n%s", out)
	}
	if got := share(); got < 0.01 || got > 0.25 {
		t.Errorf("2 Mbit/s: the second path carried %.1f %%", 100*got)
	}
	if out := set(); !strings.Contains(out, "2:2Mbit") || !strings.Contains(out, "user-timeout") {
		t.Errorf("tandem set prints\n%s", out)
	}
	if out := l.must("connections"); !strings.Contains(out, "scheduler=default, subflow-rate-limit=2:2Mbit, user-timeout=1h") {
		t.Errorf("tandem connections prints\n%s", out)
	}
	if out := set("--clear", "all"); out != "nobody has chosen an option\n" {
		t.Errorf("tandem set prints\n%s", out)
	}
	if got := share(); got < 0.25 {
		t.Errorf("taken back: the second path carried %.1f %%", 100*got)
	}
	if out, said, err := l.run("set", one.Client.Token.String(), "scheduler=redundant"); err == nil || !strings.Contains(out, "unsupported: ") || !strings.Contains(said, "convert.redundant") {
		t.Errorf("redundant, which takes an upstream of its own: %v\n%s%s", err, out, said)
	}
	end()
	<-done
}
