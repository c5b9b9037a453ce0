// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// TestRulesDecide asks the kernel and Explain the same questions about the same
// configurations.
func TestRulesDecide(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	mac := h.macOf(t, h.Client, "eth0")
	server := []netip.Prefix{single(h.ServerAddr.V4), single(h.ServerAddr.V6)}
	tests := map[string]struct {
		change      func(*Config)
		call        call // to is filled in
		port        uint16
		intercepted bool
		reason      string
	}{
		"by default":      {intercepted: true, reason: "nothing leaves it out"},
		"by default, 443": {port: 443, intercepted: true, reason: "nothing leaves it out"},
		"excluded prefix": {
			change: func(c *Config) { c.Forwarded.Exclude.Destinations = server },
			reason: "excluded destination",
		},
		"another prefix excluded": {
			change:      func(c *Config) { c.Forwarded.Exclude.Destinations = prefixes("192.0.2.0/24", "2001:db8:f::/48") },
			intercepted: true, reason: "nothing leaves it out",
		},
		"private destinations excluded": {
			change:      func(c *Config) { c.Forwarded.Exclude.Private = true },
			intercepted: true, reason: "nothing leaves it out",
		},
		"excluded port": {
			change: func(c *Config) {
				c.Forwarded.Exclude.Ports = []policy.PortRange{{From: 22, To: 22}, {From: 79, To: 81}}
			},
			reason: "excluded port (79-81)",
		},
		"another port excluded": {
			change:      func(c *Config) { c.Forwarded.Exclude.Ports = []policy.PortRange{{From: 81, To: 65535}, {To: 79}} },
			intercepted: true, reason: "nothing leaves it out",
		},
		"not a chosen port": {
			change: func(c *Config) { c.Forwarded.Ports = []policy.PortRange{{From: 443, To: 443}} },
			reason: "not a port to intercept",
		},
		"a chosen port": {
			change:      func(c *Config) { c.Forwarded.Ports = []policy.PortRange{{From: 443, To: 443}} },
			port:        443,
			intercepted: true, reason: "nothing leaves it out",
		},
		"excluded DSCP": {
			change: func(c *Config) { c.Forwarded.Exclude.DSCP = []uint8{46, 8, 46} }, call: call{dscp: 46},
			reason: "excluded DSCP",
		},
		"another DSCP": {
			change: func(c *Config) { c.Forwarded.Exclude.DSCP = []uint8{46, 8} }, call: call{dscp: 44},
			intercepted: true, reason: "nothing leaves it out",
		},
		"excluded MAC": {
			change: func(c *Config) { c.Forwarded.Exclude.MACs = []MAC{mac, {2}} },
			reason: "excluded link-layer address (" + net.HardwareAddr(mac[:]).String() + ")",
		},
		"another MAC": {
			change:      func(c *Config) { c.Forwarded.Exclude.MACs = []MAC{{2}} },
			intercepted: true, reason: "nothing leaves it out",
		},
		"upstream": {
			change: func(c *Config) { c.Upstreams = []netip.Addr{h.ServerAddr.V4, h.ServerAddr.V6} },
			reason: "address of an upstream",
		},
		"another interface": {
			change: func(c *Config) { c.Forwarded.Interfaces = []string{"lan2", "br-lan"} },
			reason: "not from an interface of clients",
		},
		"prefix of clients": {
			change: func(c *Config) {
				c.Forwarded.Interfaces = nil
				c.Forwarded.Sources = prefixes("192.168.1.0/24", "2001:db8:1::/64")
			},
			intercepted: true, reason: "nothing leaves it out",
		},
		"another prefix of clients": {
			change: func(c *Config) { c.Forwarded.Sources = prefixes("192.168.2.0/24", "192.168.1.128/25") },
			reason: "not from a prefix of clients",
		},
		"mark within a mask": {
			change:      func(c *Config) { c.Mark, c.Mask = 0x100, 0xf00 },
			intercepted: true, reason: "nothing leaves it out",
		},
	}
	i := install(t, h.CPE, forwarded(both...))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := forwarded(both...)
			if test.change != nil {
				test.change(&c)
			}
			if err := i.Update(c); err != nil {
				t.Fatal(err)
			}
			if test.port == 0 {
				test.port = serverPort
			}
			for _, to := range h.targets(test.port) {
				k := test.call
				k.host, k.to = h.Client, to
				want := "server " + h.clientAddr(to)
				if test.intercepted {
					want = "proxy " + to.String() + " mptcp=false"
				}
				if got := k.greeting(t); got != want {
					t.Errorf("%v answered %q, want %q", to, got, want)
				}
				e := c.Explain(Flow{
					Interface: "lan", Source: netip.MustParseAddr(h.clientAddr(to)), Destination: to,
					DSCP: uint8(k.dscp), MAC: mac,
				})
				if (e.Outcome == Intercepted) != test.intercepted || !strings.HasPrefix(e.Reason, test.reason) {
					t.Errorf("explained: %+v, want reason %q", e, test.reason)
				}
				if !strings.Contains(c.Ruleset(), "\t\t"+e.Rule+" comment ") {
					t.Errorf("rule %q is not in\n%s", e.Rule, c.Ruleset())
				}
			}
		})
	}
}

func (h home) macOf(t *testing.T, host *lab.Host, dev string) (mac MAC) {
	t.Helper()
	err := host.Do(func() error {
		i, err := net.InterfaceByName(dev)
		if err == nil {
			mac = MAC(i.HardwareAddr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

func TestOwnAddressesAreNotIntercepted(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	h.serve(t, h.CPE, "cpe", 8080)
	install(t, h.CPE, forwarded(both...))
	further := netip.MustParseAddr("192.0.2.77")
	if err := h.CPE.AddAddress("lan", single(further)); err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{h.CPEAddr.V4, h.CPEAddr.V6, further} {
		to := netip.AddrPortFrom(a, 8080)
		if got := (call{host: h.Client, to: to}).greeting(t); got != "cpe "+h.clientAddr(to) {
			t.Errorf("%v answered %q", to, got)
		}
	}
	// A listener on loopback is out of reach for who asks for it by its port.
	for _, a := range []netip.Addr{h.CPEAddr.V4, h.CPEAddr.V6} {
		if _, err := (call{host: h.Client, to: netip.AddrPortFrom(a, proxyPort)}).dial(t); err == nil {
			t.Errorf("the listener can be reached at %v", a)
		}
	}
}

func TestOtherFamilyIsNotIntercepted(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, loopback4)
	c := forwarded(loopback4)
	install(t, h.CPE, c)
	to := h.targets(serverPort)
	if got := (call{host: h.Client, to: to[0]}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Errorf("IPv4: %q", got)
	}
	if got := (call{host: h.Client, to: to[1]}).greeting(t); !strings.HasPrefix(got, "server ") {
		t.Errorf("IPv6: %q", got)
	}
	e := c.Explain(Flow{Interface: "lan", Source: h.ClientAddr.V6, Destination: to[1]})
	if e.Outcome != Passed || e.Reason != "no listener of this family" {
		t.Errorf("explained: %+v", e)
	}
}
