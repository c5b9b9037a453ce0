// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// TestRunningConnectionsGoOn has connections cross every change: those that were
// there before, those that are intercepted, those past the listener.
func TestRunningConnectionsGoOn(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 1, Destination, both...)
	for _, to := range h.targets(serverPort) {
		past, err := call{host: h.Client, to: to}.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		if got := readLine(t, past); !strings.HasPrefix(got, "server ") {
			t.Fatalf("before: %q", got)
		}
		i := install(t, h.CPE, forwarded(both...))
		echoes(t, past, "after install")

		caught, err := call{host: h.Client, to: to, mptcp: true}.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		if got := readLine(t, caught); !strings.HasPrefix(got, "proxy ") {
			t.Fatalf("after: %q", got)
		}
		excluding := forwarded(both...)
		excluding.Forwarded.Exclude.Ports = []policy.PortRange{{From: serverPort, To: serverPort}}
		excluding.Mark, excluding.Table, excluding.Priority = 7, 7, 7
		if err := i.Update(excluding); err != nil {
			t.Fatal(err)
		}
		echoes(t, past, "after update")
		echoes(t, caught, "after update")
		if got := (call{host: h.Client, to: to}).greeting(t); !strings.HasPrefix(got, "server ") {
			t.Errorf("excluded: %q", got)
		}
		if rules := output(t, h.CPE, "ip", "rule"); strings.Contains(rules, "21601") || !strings.Contains(rules, "lookup 7") {
			t.Errorf("rules after update:\n%s", rules)
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		echoes(t, past, "after close")
	}
}

// TestUpdateLetsNothingSlipThrough connects all the time while the
// configuration changes.
func TestUpdateLetsNothingSlipThrough(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	i := install(t, h.CPE, forwarded(both...))
	done := make(chan error)
	stop := time.Now().Add(time.Second)
	go func() {
		defer close(done)
		for n := uint16(0); time.Now().Before(stop); n++ {
			c := forwarded(both...)
			c.Forwarded.Exclude.Ports = []policy.PortRange{{From: 1000 + n%100, To: 2000}}
			if n%2 == 1 {
				c.Mark, c.Table, c.Priority = 7, 7, 7
			}
			if err := i.Update(c); err != nil {
				done <- err
				return
			}
		}
	}()
	to := h.targets(serverPort)
	for n := 0; ; n++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if n < 10 {
				t.Fatalf("only %d connections", n)
			}
			return
		default:
			if got := (call{host: h.Client, to: to[n%2]}).greeting(t); !strings.HasPrefix(got, "proxy ") {
				t.Fatalf("connection %d: %q", n, got)
			}
		}
	}
}

func TestFailedUpdateKeepsOldConfiguration(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, Destination, both...)
	i := install(t, h.CPE, forwarded(both...))
	before := state(t, h.CPE)
	invalid := forwarded(both...)
	invalid.Forwarded.Interfaces = nil
	// Table 101 holds the routes of the DSL link.
	taken := forwarded(both...)
	taken.Table, taken.Mark, taken.Priority = 101, 7, 7
	renamed := forwarded(both...)
	renamed.Name = "other"
	for name, c := range map[string]Config{"invalid": invalid, "table in use": taken, "renamed": renamed} {
		if err := i.Update(c); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Log(err)
		}
		if after := state(t, h.CPE); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", name, before, after)
		}
	}
	if got := (call{host: h.Client, to: h.targets(serverPort)[0]}).greeting(t); !strings.HasPrefix(got, "proxy ") {
		t.Error(got)
	}
}

func TestDrain(t *testing.T) {
	h := newHome(t)
	h.proxy(t, 0, func(fd int) (netip.AddrPort, error) {
		if dst, err := OriginalDestination(fd); err == nil {
			return dst, nil
		}
		return Destination(fd)
	}, both...)
	c := forwarded(both...)
	c.Own = own(both...).Own
	i := install(t, h.CPE, c)
	type connection struct {
		call
		net.Conn
	}
	var connections []connection
	for _, host := range []*lab.Host{h.Client, h.CPE} {
		for _, to := range h.targets(serverPort) {
			k := call{host: host, to: to}
			conn, err := k.dial(t)
			if err != nil {
				t.Fatal(err)
			}
			if got := readLine(t, conn); !strings.HasPrefix(got, "proxy "+to.String()) {
				t.Fatalf("%s to %v: %q", host.Name(), to, got)
			}
			connections = append(connections, connection{k, conn})
		}
	}
	if err := i.Drain(); err != nil {
		t.Fatal(err)
	}
	for _, k := range connections {
		echoes(t, k.Conn, "while draining")
		if got := k.greeting(t); !strings.HasPrefix(got, "server ") {
			t.Errorf("%s to %v while draining: %q", k.host.Name(), k.to, got)
		}
	}
	if err := i.Update(c); err != nil {
		t.Fatal(err)
	}
	for _, k := range connections {
		echoes(t, k.Conn, "intercepting again")
		if got := k.greeting(t); !strings.HasPrefix(got, "proxy ") {
			t.Errorf("%s to %v after draining: %q", k.host.Name(), k.to, got)
		}
	}
}
