// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

func carried(t *testing.T, a lab.Access) uint64 {
	t.Helper()
	n, err := a.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return n.Total()
}

// TestHealing cuts one of two links in the middle of a transfer and restores it.
func TestHealing(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			w := newWorld(t, source, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}, Cell: lab.LinkSpec{Rate: 20e6}}, Options{})
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
			wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
			f.awaitSubflows(wifi, cell)
			wait := f.start(f.server, f.client, 10<<20)
			for _, link := range []struct {
				lab.Access
				other string
			}{{w.Cell, wifi}, {w.WiFi, cell}} {
				if err := link.Down(); err != nil {
					t.Fatal(err)
				}
				f.awaitSubflows(link.other)
				if err := link.Up(); err != nil {
					t.Fatal(err)
				}
				f.awaitSubflows(wifi, cell)
				before := carried(t, link.Access)
				labtest.Await(t, patience, "bytes on the restored link", func() bool { return carried(t, link.Access) > before+100_000 })
			}
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			// The first one says its last word when its link is back.
			labtest.Await(t, patience, "two lost and healed", func() bool {
				c := w.client.Counters()
				return c.Healed[PathLost] == 2 && c.Closed[PathLost] == 2
			})
		})
	}
}

// TestBreakBeforeMake takes the only address away, and brings another one
// later.
func TestBreakBeforeMake(t *testing.T) {
	for _, m := range []struct {
		name string
		Manager
	}{{"ndiffports", NDiffPorts{N: 1}}, {"fullmesh", FullMesh{}}, {"refreshing", Refreshing{}}, {"delaying", Delaying{Bytes: 1 << 40}}} {
		t.Run(m.name, func(t *testing.T) {
			w := newWorld(t, "eBPF", lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}}, Options{})
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: m.Manager, Interfaces: []string{"wifi"}}, Policy{})
			f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
			wait := f.start(f.client, f.server, 2<<20)
			also := netip.MustParseAddr("198.51.100.77")
			if err := w.Client.RemoveAddress("wifi", netip.PrefixFrom(w.WiFi.Addr.V4, 25)); err != nil {
				t.Fatal(err)
			}
			labtest.Await(t, patience, "no subflow", func() bool { return !state(t, w.client, f.clientToken).Lost.IsZero() })
			if err := w.Client.AddAddress("wifi", netip.PrefixFrom(also, 25)); err != nil {
				t.Fatal(err)
			}
			if err := w.Client.AddRoute(lab.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: w.WiFi.Gateway.V4, Dev: "wifi"}); err != nil {
				t.Fatal(err)
			}
			f.awaitSubflows(pair(also, to))
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			f.move(f.server, f.client, 1<<20)
			if c := w.client.Counters(); c.Healed[PathLost] != 1 || c.Expired != 0 {
				t.Errorf("healed %v, expired %d", c.Healed, c.Expired)
			}
		})
	}
}

// TestAddressesOfThePeer: subflows from addresses that the peer has lost, whose
// end it could not tell, do not keep it from opening others.
func TestAddressesOfThePeer(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}}, Options{})
	to := w.AggregatorAddr.V4
	mesh := Policy{Manager: FullMesh{}, Interfaces: []string{"wifi"}}
	f := w.connect(w.listen(to), to, mesh, Policy{MaxSubflows: 1})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
	wait := f.start(f.server, f.client, 12<<20)
	was := w.WiFi.Addr.V4
	for _, next := range []string{"198.51.100.77", "198.51.100.78", "198.51.100.79"} {
		next := netip.MustParseAddr(next)
		if err := w.Client.RemoveAddress("wifi", netip.PrefixFrom(was, 25)); err != nil {
			t.Fatal(err)
		}
		// The peer has to notice that nothing is acknowledged.
		labtest.Await(t, patience, "silence", func() bool {
			all, err := w.server.diag.All()
			return err == nil && len(all) > 0 && !slices.ContainsFunc(all, func(s sockdiag.Subflow) bool { return s.LastAck < deaf })
		})
		if err := w.Client.AddAddress("wifi", netip.PrefixFrom(next, 25)); err != nil {
			t.Fatal(err)
		}
		if err := w.Client.AddRoute(lab.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: w.WiFi.Gateway.V4, Dev: "wifi"}); err != nil {
			t.Fatal(err)
		}
		f.awaitSubflows(pair(next, to))
		before := carried(t, w.WiFi)
		labtest.Await(t, patience, "bytes from the new address", func() bool { return carried(t, w.WiFi) > before+100_000 })
		was = next
	}
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if c := w.server.Counters(); c.Closed[TimedOut] == 0 || c.Closed[TooMany] != 0 {
		t.Errorf("closed %v", c.Closed)
	}
}

// TestExpiry: a connection without subflows is reported after its time, and one
// that gets some in time is not.
func TestExpiry(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	ln := w.listen(to)
	f := w.connect(ln, to, Policy{}, Policy{Keep: 200 * time.Millisecond})
	other := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 1}}, Policy{Keep: time.Hour})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
	var timeout string
	read := func() {
		t.Helper()
		if err := w.Aggregator.Do(func() (err error) { timeout, err = mptcp.SysctlCloseTimeout.Read(); return err }); err != nil {
			t.Fatal(err)
		}
	}
	labtest.Await(t, patience, "a close_timeout of 3610 s", func() bool { read(); return timeout == "3610" })
	first := state(t, w.client, f.clientToken).Subflows[0]
	run(t, w.Client, "ss", "-K", "src", first.LocalAddr().String())
	select {
	case last := <-w.expired:
		if last != ResetReceived {
			t.Errorf("last subflow: %s", last)
		}
	case <-time.After(patience):
		t.Fatal("did not expire")
	}
	s := state(t, w.server, f.serverToken)
	if s.Lost.IsZero() || s.LostBy != ResetReceived || len(s.Subflows) != 0 {
		t.Errorf("%+v", s)
	}
	other.move(other.client, other.server, 1000)
	w.server.Forget(f.serverToken)
	labtest.Await(t, patience, "one connection", func() bool { return w.server.Counters().Adopted == 1 })
	if n := w.server.Counters(); n.Expired != 1 || n.Subflowless != 0 {
		t.Errorf("%+v", n)
	}
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	if read(); timeout != "60" {
		t.Errorf("close_timeout %s after the end, want 60", timeout)
	}
}

// TestFlood has events lost while subflows come and go: what is known is
// repaired, and so are the subflows.
func TestFlood(t *testing.T) {
	needEngine(t)
	w := &world{TwoPath: labtest.TwoPath(t, lab.TwoPathSpec{}), t: t}
	w.server = w.engineOn(w.Aggregator, Options{})
	blocked, release := make(chan struct{}), make(chan struct{})
	w.client = w.engineOn(w.Client, Options{Events: events(t, bpf.Options{EventRing: 1})})
	to := w.AggregatorAddr.V4
	ln := w.listen(to)
	f := w.connect(ln, to, Policy{Manager: FullMesh{}}, Policy{})
	wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
	f.awaitSubflows(wifi, cell)
	// Nothing is read from here on.
	w.client.do(func() { close(blocked); <-release }, 0)
	<-blocked
	run(t, w.Client, "ss", "-K", "src", w.Cell.Addr.V4.String())
	var flood []*flow
	for range 400 {
		flood = append(flood, w.dial(ln, to))
	}
	for _, g := range flood[1:] {
		g.client.Close()
		g.server.Close()
	}
	// The end of this one's subflow is among what is lost.
	run(t, w.Client, "ss", "-K", "src", w.WiFi.Addr.V4.String(), "and", "dport", "=", ":"+port(ln))
	last := w.dial(ln, to)
	close(release)
	labtest.Await(t, patience, "a gap", func() bool { return w.client.Counters().LostEvents > 0 })
	w.client.Adopt(last.clientToken, &Policy{Manager: FullMesh{}}, true)
	last.move(last.client, last.server, 1)
	last.move(last.server, last.client, 1)
	f.awaitSubflows(wifi, cell)
	last.awaitSubflows(wifi, cell)
	f.move(f.client, f.server, 100_000)
	c := w.client.Counters()
	if c.Gaps == 0 || c.Repairs == 0 || c.Repaired == 0 {
		t.Errorf("%+v", c)
	}
}

// TestAddressGoneEarly: the address goes while the engine does not know yet
// that the connection may have more subflows.
func TestAddressGoneEarly(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	f := w.dial(w.listen(to), to)
	w.client.Adopt(f.clientToken, &Policy{Manager: NDiffPorts{N: 1}}, true)
	w.server.Adopt(f.serverToken, &Policy{}, false)
	labtest.Await(t, patience, "a path", func() bool { return len(state(t, w.client, f.clientToken).Paths) > 0 })
	blocked, release := make(chan struct{}), make(chan struct{})
	w.client.do(func() { close(blocked); <-release }, 0)
	<-blocked
	f.move(f.client, f.server, 1)
	f.move(f.server, f.client, 1)
	if err := w.Client.RemoveAddress("wifi", netip.PrefixFrom(w.WiFi.Addr.V4, 25)); err != nil {
		t.Fatal(err)
	}
	close(release)
	f.awaitSubflows(pair(w.Cell.Addr.V4, to))
	f.move(f.client, f.server, 100_000)
}

// TestForeignAddress: a connection from an address that is not the host's, as
// transparent proxies make them, keeps its subflow when the network changes.
func TestForeignAddress(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{})
	to, foreign := w.AggregatorAddr.V4, netip.MustParseAddr("198.18.0.1")
	ln := w.listen(to)
	run(t, w.Client, "ip", "route", "add", "local", foreign.String(), "dev", "lo")
	if err := w.Aggregator.AddRoute(lab.Route{Dst: netip.PrefixFrom(foreign, 32), Via: w.WiFi.Addr.V4, Dev: "wifi"}); err != nil {
		t.Fatal(err)
	}
	f := &flow{w: w}
	if err := w.Client.Do(func() error {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{
			Mode: mptcp.ModeRequire, Local: netip.AddrPortFrom(foreign, 0), Socket: mptcp.SocketOptions{Transparent: true},
		}, Timeout: patience}
		c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err == nil {
			f.client = c.TCPConn
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer f.client.Close()
	var err error
	if f.server, err = ln.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	defer f.server.Close()
	f.clientToken = tokenOf(t, f.client)
	w.client.Adopt(f.clientToken, &Policy{Manager: FullMesh{}, Interfaces: []string{"cell"}}, true)
	f.move(f.client, f.server, 1)
	f.move(f.server, f.client, 1)
	f.awaitSubflows(pair(foreign, to), pair(w.Cell.Addr.V4, to))
	if err := w.Cell.Down(); err != nil {
		t.Fatal(err)
	}
	f.awaitSubflows(pair(foreign, to))
	f.move(f.client, f.server, 100_000)
	if err := w.Cell.Up(); err != nil {
		t.Fatal(err)
	}
	f.awaitSubflows(pair(foreign, to), pair(w.Cell.Addr.V4, to))
}
