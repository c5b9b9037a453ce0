// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

func newHost(t testing.TB) *lab.Host {
	t.Helper()
	if _, err := os.Stat("/proc/sys/net/mptcp"); err != nil {
		t.Skip("kernel has no MPTCP")
	}
	h, err := labtest.New(t).Host("a")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func wantEndpoints(t *testing.T, c *Client, want ...Endpoint) {
	t.Helper()
	got, err := c.Endpoints()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, byValue); len(want)+len(got) > 0 && diff != "" {
		t.Error(diff)
	}
}

func TestEndpoints(t *testing.T) {
	c := dialOn(t, newHost(t))
	wantEndpoints(t, c)
	v4 := Endpoint{ID: 1, Addr: netip.MustParseAddr("192.0.2.1"), Flags: Subflow | Backup}
	v6 := Endpoint{ID: 7, Addr: netip.MustParseAddr("2001:db8::1"), Flags: Subflow | Fullmesh, IfIndex: 1}
	port := Endpoint{ID: 200, Addr: netip.MustParseAddr("127.0.0.9"), Port: 0x1234, Flags: Signal}
	for _, e := range []Endpoint{v4, v6, port} {
		if err := c.AddEndpoint(e); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
	}
	wantEndpoints(t, c, v4, v6, port)
	for _, want := range []Endpoint{v4, v6, port} {
		if got, err := c.Endpoint(want.ID); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	// By ID, and by address.
	v4.Flags = Subflow
	if err := c.SetEndpointFlags(Endpoint{ID: v4.ID}); err != nil {
		t.Error(err)
	}
	v6.Flags = Subflow | Fullmesh | Backup
	if err := c.SetEndpointFlags(Endpoint{Addr: v6.Addr, Flags: Fullmesh | Backup | Signal}); err != nil {
		t.Error(err)
	}
	wantEndpoints(t, c, v4, v6, port)
	if err := c.DeleteEndpoint(v6.ID, netip.Addr{}); err != nil {
		t.Error(err)
	}
	wantEndpoints(t, c, v4, port)
	// The kernel chooses an ID, and takes an IPv4-mapped address as IPv4.
	mapped := Endpoint{Addr: netip.MustParseAddr("::ffff:192.0.2.3"), Flags: Signal}
	if err := c.AddEndpoint(mapped); err != nil {
		t.Fatal(err)
	}
	all, err := c.Endpoints()
	if err != nil || len(all) != 3 || all[2].Addr != mapped.Addr.Unmap() || all[2].ID == 0 || all[2].Flags != Signal {
		t.Errorf("got %+v, %v", all, err)
	}
	if err := c.FlushEndpoints(); err != nil {
		t.Error(err)
	}
	wantEndpoints(t, c)
}

func TestEndpointErrors(t *testing.T) {
	c := dialOn(t, newHost(t))
	e := Endpoint{ID: 1, Addr: netip.MustParseAddr("192.0.2.1"), Flags: Subflow}
	if err := c.AddEndpoint(e); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want error
	}{
		{"no address", func() error { return c.AddEndpoint(Endpoint{ID: 2}) }, errNoAddress},
		{"zone", func() error { return c.AddEndpoint(Endpoint{Addr: netip.MustParseAddr("fe80::1%lo")}) }, errZone},
		{"ID taken", func() error { return c.AddEndpoint(Endpoint{ID: 1, Addr: netip.MustParseAddr("192.0.2.9")}) }, unix.EBUSY},
		{"address there already", func() error { return c.AddEndpoint(Endpoint{Addr: e.Addr}) }, unix.EEXIST},
		{"port of a foreign address", func() error {
			return c.AddEndpoint(Endpoint{Addr: netip.MustParseAddr("192.0.2.8"), Port: 1, Flags: Signal})
		}, unix.EADDRNOTAVAIL},
		{"port without signal", func() error {
			return c.AddEndpoint(Endpoint{Addr: netip.MustParseAddr("192.0.2.8"), Port: 1, Flags: Subflow})
		}, unix.EINVAL},
		{"delete unknown", func() error { return c.DeleteEndpoint(9, netip.Addr{}) }, ErrGone},
		{"delete without address", func() error { return c.DeleteEndpoint(0, netip.Addr{}) }, errNoAddress},
		{"get unknown", func() error { _, err := c.Endpoint(9); return err }, ErrGone},
		{"flags of unknown", func() error { return c.SetEndpointFlags(Endpoint{ID: 9, Flags: Backup}) }, ErrGone},
		{"limits", func() error { return c.SetLimits(Limits{9, 1}) }, unix.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			t.Log(err)
		})
	}
	// Not one of them has put requests and answers out of step.
	wantEndpoints(t, c, e)
}

func TestLimits(t *testing.T) {
	c := dialOn(t, newHost(t))
	if got, err := c.Limits(); err != nil || got != (Limits{Subflows: 2}) {
		t.Errorf("at first: %+v, %v", got, err)
	}
	want := Limits{Subflows: 8, AddAddrAccepted: 3}
	if err := c.SetLimits(want); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Limits(); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestManyGoroutines(t *testing.T) {
	c := dialOn(t, newHost(t))
	want := Endpoint{ID: 5, Addr: netip.MustParseAddr("192.0.2.5"), Flags: Signal}
	if err := c.AddEndpoint(want); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if got, err := c.Endpoint(want.ID); err != nil || got != want {
					t.Errorf("got %+v, %v", got, err)
				}
				if err := c.DeleteEndpoint(6, netip.Addr{}); !errors.Is(err, ErrGone) {
					t.Errorf("deleted: %v", err)
				}
				if got, err := c.Endpoints(); err != nil || len(got) != 1 {
					t.Errorf("got %+v, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestNamespaceByDescriptor(t *testing.T) {
	h := newHost(t)
	here := dialOn(t, h)
	if err := here.SetLimits(Limits{5, 6}); err != nil {
		t.Fatal(err)
	}
	var ns int
	err := h.Do(func() (err error) {
		ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	c, err := Dial(Options{NetNS: ns})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Limits(); err != nil || got != (Limits{5, 6}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestClosedClient(t *testing.T) {
	c := dialOn(t, newHost(t))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Endpoints(); err == nil {
		t.Error("a closed client answers")
	}
}
