// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/client"
)

// request is an option of ours in a TCP header.
func request(kind byte, value ...byte) []byte {
	return append([]byte{254, 8, 0x54, 0x44, kind}, value...)
}

// tunnel connects from the phone to the echo server through the aggregator, over
// MPTCP.
func (c *chooser) tunnel() *client.Conn {
	c.t.Helper()
	return c.dial(&client.Dialer{SOCKS: netip.MustParseAddrPort("192.0.2.1:1080")})
}

// TestAbuseOfTCPOptions sends what no honest peer does in TCP options: too much of
// everything, nonsense, pieces and floods. What can be granted is capped, the rest
// is refused and counted, and nobody else notices.
func TestAbuseOfTCPOptions(t *testing.T) {
	t.Parallel()
	c := newChooser(t, lab.TwoPathSpec{}, granting, 1000)
	c.needSteering()
	echo(t, c.Server, "203.0.113.80:7")
	bystander := c.tunnel()
	exchange(t, bystander)
	hostile := c.tunnel()
	local, _ := netip.ParseAddrPort(hostile.LocalAddr().String())
	i := newInjector(t, c.Client, "wifi", local, netip.MustParseAddrPort("192.0.2.1:1080"), func() {
		for range 3 { // until the kernel takes MPTCP for established
			exchange(t, hostile)
		}
	})
	its := func(one *admin.Connection) bool { return one.Client.Address == local }
	option := func(name string, met func(*admin.ConnectionOption) bool) {
		t.Helper()
		c.await(c.operator, name, func(one *admin.Connection) bool {
			o := one.Options.Of(name)
			return its(one) && o != nil && met(o)
		})
	}
	mistakes := func(n int, why string) {
		t.Helper()
		c.await(c.operator, why, func(one *admin.Connection) bool {
			return its(one) && one.Options != nil && len(one.Options.Mistakes) == n && one.Options.Mistakes[n-1].Why == why
		})
	}
	i.send(request(6, 0, 0x27, 0x10)...) // an initial window of 10000
	option("initial-window", func(o *admin.ConnectionOption) bool {
		return o.Asked == "10000" && o.Value == "default" && o.Why == "unsupported" && strings.Contains(o.Detail, "sent data already")
	})
	i.send(slices.Concat(request(2, 1, 0x27, 0x10), request(2, 1, 0, 1))...) // 100 Mbit/s, and again something else
	option("subflow-rate-limit", func(o *admin.ConnectionOption) bool {
		return o.Asked == "1:100Mbit" && o.Value == "1:30Mbit" && o.Why == "capped"
	})
	i.send(request(1, 0x7f, 0, 0)...) // a scheduler that there is not
	mistakes(1, "out of range")
	i.send(request(4, 0xff, 0xff, 0xff)...) // inactive for half a year
	mistakes(2, "out of range")
	i.send(request(99, 1, 2, 3)...)
	mistakes(3, "unknown")
	i.send(28, 4, 0xff, 0xff) // RFC 5482: 22 days
	option("user-timeout", func(o *admin.ConnectionOption) bool { return o.Value == "1h" && o.Why == "capped" })

	before := c.status()
	for _, nonsense := range [][]byte{
		request(0x81, 1, 0, 0),                        // answers to what was never asked
		request(0x80|99, 0, 0, 0),                     //
		{254, 8, 0x54, 0x45, 1, 1, 0, 0},              // somebody else's experiment
		{254, 7, 0x54, 0x44, 1, 1, 0},                 // cut
		{254, 5, 0x54, 0x44, 1},                       //
		{254, 4, 0x54, 0x44},                          //
		{254, 2},                                      //
		{254, 1, 0x54, 0x44},                          // lengths that cannot be
		{254, 0, 0x54, 0x44, 1, 1, 0, 0},              //
		{254, 60, 0x54, 0x44, 1, 1, 0, 0},             // beyond the header
		{1, 1, 1, 254},                                // without a length
		{254, 12, 0x54, 0x44, 1, 1, 0, 0, 1, 2, 0, 0}, // two records
		request(0, 0, 0, 0),                           // type 0
		{28, 3, 0}, {28, 4, 0, 0}, {28, 2}, {28, 0},
	} {
		i.send(nonsense...)
	}
	// As fast as it goes: a threshold of delay that changes all the time.
	const flood = 20_000
	for n := range flood {
		i.send(request(3, 0, 0, byte(10+n%2))...)
		if n%1000 == 0 {
			exchange(t, bystander)
		}
	}
	labtest.Await(t, 3*patience, "the flood to be counted", func() bool {
		s := c.status()
		n := counter(s, "delay-threshold")
		return s.OptionsIgnored >= before.OptionsIgnored+flood/2 && n.Outcomes["as asked"] > 0 && n.Outcomes["too often"] > 0
	})
	s := c.status()
	if n := counter(s, "delay-threshold").Outcomes["as asked"]; n > 200 {
		t.Errorf("%d changes reached the kernel", n)
	}
	if n := counter(s, "unknown").Outcomes["unknown"]; n < 1 {
		t.Errorf("counted: %+v", s.Options)
	}
	exchange(t, bystander)
	exchange(t, hostile)
	c.await(c.operator, "options of nobody else", func(one *admin.Connection) bool { return !its(one) && one.Options == nil })
	if n := countLogged(c.aggregator, "options of a connection", "level=INFO"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func (c *chooser) status() *admin.Status {
	c.t.Helper()
	s, err := c.operator.Status(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return &s
}

// counter is that of an option.
func counter(s *admin.Status, name string) admin.OptionCounter {
	for _, o := range s.Options {
		if o.Option == name {
			return o
		}
	}
	return admin.OptionCounter{}
}
