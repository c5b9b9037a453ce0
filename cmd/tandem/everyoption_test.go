// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/client"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// subflowPair is what ss tells of the aggregator's sockets of a connection: of the
// one over the first path, and over the second.
type subflowPair [2]string

// What is in force on a subflow, as ss tells: the rate at which it may send is not
// there if it is 0, and the highest one only if there is a limit.
var (
	sends   = regexp.MustCompile(`pacing_rate `)
	limited = regexp.MustCompile(`pacing_rate \S+/(\S+)`)
)

func (p subflowPair) skips(i int) bool { return !sends.MatchString(p[i]) }

func (p subflowPair) limit(i int) string {
	if m := limited.FindStringSubmatch(p[i]); m != nil {
		return m[1]
	}
	return ""
}

// onlyFirst, onlyOne and both are which subflows send.
func onlyFirst(p subflowPair) bool { return !p.skips(0) && p.skips(1) }
func onlyOne(p subflowPair) bool   { return p.skips(0) != p.skips(1) }
func both(p subflowPair) bool      { return !p.skips(0) && !p.skips(1) }

func limitedTo(rate string) func(subflowPair) bool {
	return func(p subflowPair) bool { return both(p) && p.limit(0) == "" && p.limit(1) == rate }
}

func controlled(name string) func(subflowPair) bool {
	return func(p subflowPair) bool {
		return strings.Contains(p[0], " "+name) && strings.Contains(p[1], " "+name)
	}
}

// anything is for options that sockets do not show.
func anything(subflowPair) bool { return true }

// shown is an option with two values, and what they do to an idle connection over
// two paths with an RTT of some milliseconds.
type shown struct {
	option        string
	first, second string
	doesFirst     func(subflowPair) bool
	doesSecond    func(subflowPair) bool
}

var everyOption = []shown{
	{"scheduler", "primary", "round-robin", onlyFirst, both},
	{"scheduler", "smallest-delay", "weighted:80,20", onlyOne, both},
	{"scheduler", "server", "default", onlyOne, both},
	{"scheduler", "overflow", "auto", onlyFirst, onlyOne},
	{"subflow-rate-limit", "2:4Mbit", "2:8Mbit", limitedTo("4000000bps"), limitedTo("8000000bps")},
	{"delay-threshold", "10s", "1ms", onlyFirst, both},
	{"congestion-control", "reno", "bbr", controlled("reno"), controlled("bbr")},
	{"inactivity-timeout", "50m", "40m", anything, anything},
	{"user-timeout", "1m17s", "1m28s", anything, anything},
	{"delayed-ack", "25%", "50%", anything, anything},
}

// way is one to ask for options when a connection begins.
type way struct {
	name string
	by   string // as the API names it
	dial func(c *chooser, set options.Set) *client.Conn
}

var startWays = []way{
	{"Convert", "convert", func(c *chooser, s options.Set) *client.Conn {
		return c.dial(&client.Dialer{Converter: netip.MustParseAddrPort("192.0.2.1:8803"), Options: s})
	}},
	{"SOCKS user name", "socks", func(c *chooser, s options.Set) *client.Conn {
		return c.dial(&client.Dialer{SOCKS: netip.MustParseAddrPort("192.0.2.1:1080"), Options: s})
	}},
}

// dial connects from the phone to the echo server with the client library.
func (c *chooser) dial(d *client.Dialer) *client.Conn {
	c.t.Helper()
	d.Connect.Mode, d.Connect.Timeout = mptcp.ModeRequire, patience
	var conn *client.Conn
	err := c.Client.Do(func() (err error) {
		conn, err = d.DialContext(c.t.Context(), "tcp", "203.0.113.80:7")
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

func setOf(t *testing.T, text string) options.Set {
	t.Helper()
	s, err := options.ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pair is what ss tells of the two subflows of the only connection of the phone.
func (c *chooser) pair() (p subflowPair) {
	c.t.Helper()
	lines := strings.Split(c.sockets(c.Aggregator), "\n")
	for i, line := range lines {
		for path, from := range []netip.Addr{c.WiFi.Addr.V4, c.Cell.Addr.V4} {
			if strings.HasPrefix(line, "ESTAB") && strings.Contains(line, " "+from.String()+":") && i+1 < len(lines) {
				p[path] = lines[i+1]
			}
		}
	}
	return p
}

// inForce waits until the options of the only connection are as the API and the
// sockets are to show them. Poke has something come in.
func (c *chooser) inForce(x *shown, value, by, why string, does func(subflowPair) bool, poke func()) {
	c.t.Helper()
	var p subflowPair
	var now *admin.ConnectionOption
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		poke()
		_, err := c.operator.Connections(c.t.Context(), admin.Filter{}, func(one *admin.Connection) error {
			now = one.Options.Of(x.option)
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		p = c.pair()
		if by == "" && now == nil || by != "" && now != nil && now.Value == value && now.By == by && now.Why == why {
			if p[0] != "" && p[1] != "" && does(p) {
				return
			}
		}
	}
	c.t.Fatalf("%s=%s by %q is not in force: %+v\n%s\n%s", x.option, value, by, now, p[0], p[1])
}

// gone ends a connection and waits until the aggregator has forgotten it.
func (c *chooser) gone(conn *client.Conn) {
	c.t.Helper()
	conn.Close()
	labtest.Await(c.t, patience, "the end of the connection", func() bool { return c.status().Connections.Active == 0 })
}

// only is the ID of the only connection.
func (c *chooser) only() uint64 {
	return c.await(c.operator, "the connection", func(*admin.Connection) bool { return true }).ID
}

// operate has the operator change an option of the only connection, or take it
// back if value is "".
func (c *chooser) operate(option, value string) {
	c.t.Helper()
	change := admin.OptionChange{Set: map[string]string{option: value}}
	if value == "" {
		change = admin.OptionChange{Clear: []string{option}}
	}
	if _, err := c.operator.Choose(c.t.Context(), c.only(), change); err != nil {
		c.t.Fatal(err)
	}
}

// byDefault is what an idle connection does whose options nobody has chosen.
func byDefault(p subflowPair) bool { return both(p) && p.limit(0) == "" && p.limit(1) == "" }

// everyone is an aggregator whose clients may ask for everything, with an echo
// server behind it.
func everyone(t *testing.T) *chooser {
	c := everyoneWith(t, strings.ReplaceAll(granting, ", forbid: [delayed-ack]", ""))
	c.needSteering()
	return c
}

func everyoneWith(t *testing.T, config string) *chooser {
	link := lab.LinkSpec{Delay: 5 * time.Millisecond}
	c := newChooser(t, lab.TwoPathSpec{WiFi: link, Cell: link}, config, 1000)
	echo(t, c.Server, "203.0.113.80:7")
	return c
}

// TestEveryOption asks for each option at the start, in both ways that there are
// for that, has the operator change it, and take that back.
func TestEveryOption(t *testing.T) {
	t.Parallel()
	c := everyone(t)
	packets := labtest.Capture(t, c.Client, "wifi", "tcp and src 192.0.2.1")
	for _, w := range startWays {
		for _, x := range everyOption {
			t.Run(w.name+"/"+x.option+"="+x.first, func(t *testing.T) {
				c := &chooser{t: t, TwoPath: c.TwoPath, aggregator: c.aggregator, operator: c.operator}
				conn := w.dial(c, setOf(t, x.option+"="+x.first))
				poke := func() { exchange(t, conn) }
				c.inForce(&x, x.first, w.by, "as asked", x.doesFirst, poke)
				if conn.Answered != (w.by == "convert") || conn.Answered && conn.Granted != setOf(t, x.option+"="+x.first) {
					t.Errorf("the client is told %q: %t", conn.Granted, conn.Answered)
				}
				c.operate(x.option, x.second)
				c.inForce(&x, x.second, "operator", "as asked", x.doesSecond, poke)
				c.operate(x.option, "default")
				c.inForce(&x, "default", "operator", "as asked", byDefault, poke)
				c.operate(x.option, "")
				c.inForce(&x, x.first, w.by, "as asked", x.doesFirst, poke)
				c.gone(conn)
			})
		}
	}
	segments, err := packets.Stop()
	if err != nil {
		t.Fatal(err)
	}
	told := map[byte]bool{}
	for _, s := range segments {
		if v, ok := s.Options.Find(28); ok && len(v) == 2 && v[0] == 0 { // RFC 5482
			told[v[1]] = true
		}
	}
	if !told[77] || !told[88] {
		t.Errorf("user timeouts that were told: %v", told)
	}
}

// inject sends in the name of a tunnel, which must be silent from then on.
func (c *chooser) inject(conn *client.Conn) *injector {
	local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	return newInjector(c.t, c.Client, "wifi", local, netip.MustParseAddrPort("192.0.2.1:1080"), func() {
		for range 3 { // until the kernel takes MPTCP for established
			exchange(c.t, conn)
		}
	})
}

// ask sends a request for an option.
func (i *injector) ask(o options.Option, v options.Value) {
	i.send(request(byte(o), byte(v>>16), byte(v>>8), byte(v))...)
}

// afterwards is to ask in TCP options once the connection is there.
var afterwards = way{name: "TCP options", by: "tcp-option"}

// begin opens a connection that asks for options. Poke has something come in, and
// asks again where that is in TCP options.
func (c *chooser) begin(w way, set options.Set) (conn *client.Conn, poke func()) {
	c.t.Helper()
	if w.dial != nil {
		conn = w.dial(c, set)
		return conn, func() { exchange(c.t, conn) }
	}
	conn = c.tunnel()
	i := c.inject(conn)
	return conn, func() {
		for o, v := range set.All() {
			i.ask(o, v)
		}
	}
}

// TestEveryOptionByTCPOption sets each option, changes it and takes it back in TCP
// options, while the connection is idle otherwise.
func TestEveryOptionByTCPOption(t *testing.T) {
	t.Parallel()
	c := everyone(t)
	for _, x := range everyOption {
		t.Run(x.option+"="+x.first, func(t *testing.T) {
			c := &chooser{t: t, TwoPath: c.TwoPath, aggregator: c.aggregator, operator: c.operator}
			conn := c.tunnel()
			i := c.inject(conn)
			back := "default"
			if x.option == options.SubflowRateLimit.String() {
				back = "2:default" // or it is for the path that it came on
			}
			for _, step := range []struct {
				value string
				does  func(subflowPair) bool
			}{{x.first, x.doesFirst}, {x.second, x.doesSecond}, {back, byDefault}} {
				o, err := options.Named(x.option)
				if err != nil {
					t.Fatal(err)
				}
				v, err := o.Parse(step.value)
				if err != nil {
					t.Fatal(err)
				}
				c.inForce(&x, step.value, "tcp-option", "as asked", step.does, func() { i.ask(o, v) })
			}
			c.gone(conn)
		})
	}
}

// TestOptionsTogether asks for all options at once, in each way that there is, and
// takes one after the other back.
func TestOptionsTogether(t *testing.T) {
	t.Parallel()
	c := everyone(t)
	all := []shown{
		{option: "scheduler", first: "weighted:80,20"}, {option: "subflow-rate-limit", first: "2:4Mbit"},
		{option: "delay-threshold", first: "10s"}, {option: "inactivity-timeout", first: "50m"},
		{option: "congestion-control", first: "reno"}, {option: "initial-window", first: "20"},
		{option: "user-timeout", first: "1m17s"}, {option: "delayed-ack", first: "25%"},
	}
	var texts []string
	for _, x := range all {
		texts = append(texts, x.option+"="+x.first)
	}
	for _, w := range append(slices.Clone(startWays), afterwards) {
		t.Run(w.name, func(t *testing.T) {
			c := &chooser{t: t, TwoPath: c.TwoPath, aggregator: c.aggregator, operator: c.operator}
			conn, poke := c.begin(w, setOf(t, strings.Join(texts, ";")))
			// The threshold counts for more than the weights, and the rate of a path
			// that is skipped for nothing.
			together := func(p subflowPair) bool {
				return onlyFirst(p) && controlled("reno")(p) && (w.by == "tcp-option" || strings.Contains(p[1], " cwnd:20 "))
			}
			for _, x := range all {
				if x.option == "initial-window" && w.by != "convert" {
					continue // the server has spoken by then, and says so
				}
				c.inForce(&x, x.first, w.by, "as asked", together, poke)
			}
			c.operate("delay-threshold", "default")
			x := all[slices.IndexFunc(all, func(x shown) bool { return x.option == "delay-threshold" })]
			c.inForce(&x, "default", "operator", "as asked", func(p subflowPair) bool {
				return limitedTo("4000000bps")(p) && controlled("reno")(p)
			}, poke)
			c.operate("subflow-rate-limit", "default")
			c.operate("scheduler", "primary")
			x = all[0]
			c.inForce(&x, "primary", "operator", "as asked", func(p subflowPair) bool { return onlyFirst(p) && controlled("reno")(p) }, poke)
			c.operate("scheduler", "default")
			c.inForce(&x, "default", "operator", "as asked", func(p subflowPair) bool { return byDefault(p) && controlled("reno")(p) }, poke)
			c.gone(conn)
		})
	}
}
