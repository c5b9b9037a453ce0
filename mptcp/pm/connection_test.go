// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// twoPath is a lab whose client and aggregator have the userspace path manager,
// and a subscription on both.
type twoPath struct {
	*lab.TwoPath
	client, aggregator   *Client
	atClient, atListener *Events
}

func newTwoPath(t *testing.T, spec lab.TwoPathSpec) *twoPath {
	t.Helper()
	tp := &twoPath{TwoPath: labtest.TwoPath(t, spec)}
	userspace(t, tp.Client)
	userspace(t, tp.Aggregator)
	tp.client, tp.aggregator = dialOn(t, tp.Client), dialOn(t, tp.Aggregator)
	tp.atClient = subscribeOn(t, tp.Client, Options{})
	tp.atListener = subscribeOn(t, tp.Aggregator, Options{})
	return tp
}

// pathOver returns the subflow of fd from an address.
func pathOver(t *testing.T, fd int, from netip.Addr) (mptcp.Subflow, bool) {
	t.Helper()
	all, err := mptcp.Subflows(fd)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Local.Addr() == from {
			return s, true
		}
	}
	return mptcp.Subflow{}, false
}

// One connection gets a second subflow over the other link, makes it a backup
// and back, and closes it, and both ends see it.
func TestSecondSubflow(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6", "IPv4 at an IPv6 listener"} {
		t.Run(family, func(t *testing.T) {
			tp := newTwoPath(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 40e6}, Cell: lab.LinkSpec{Rate: 40e6}})
			listen, to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0), netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
			wifi, cell := tp.WiFi.Addr.V4, tp.Cell.Addr.V4
			switch family {
			case "IPv6":
				listen, to = netip.AddrPortFrom(tp.AggregatorAddr.V6, 0), netip.AddrPortFrom(tp.AggregatorAddr.V6, 0)
				wifi, cell = tp.WiFi.Addr.V6, tp.Cell.Addr.V6
			case "IPv4 at an IPv6 listener":
				listen = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
			}
			c := connect(t, tp.Client, tp.Aggregator, listen, to)
			first, _ := pathOver(t, c.client, wifi)
			remote := first.Remote

			if l := awaitEvent[ListenerCreated](t, tp.atListener, nil); l.Local != netip.AddrPortFrom(listen.Addr(), remote.Port()) {
				t.Errorf("listener on %s", l.Local)
			}
			begun := Connection{Token: c.clientToken, Local: first.Local, Remote: remote}
			if e := awaitEvent[Created](t, tp.atClient, nil); e.Connection != begun {
				t.Errorf("created: %+v, want %+v", e, begun)
			}
			if e := awaitEvent[Established](t, tp.atClient, nil); e.Connection != begun {
				t.Errorf("established: %+v, want %+v", e, begun)
			}
			begun = Connection{Token: c.serverToken, Local: remote, Remote: first.Local, ServerSide: true}
			if e := awaitEvent[Established](t, tp.atListener, nil); e.Connection != begun {
				t.Errorf("established at server: %+v, want %+v", e, begun)
			}

			local := Endpoint{ID: 5, Addr: cell}
			if err := tp.client.CreateSubflow(c.clientToken, local, remote); err != nil {
				t.Fatal(err)
			}
			path := awaitEvent[SubflowEstablished](t, tp.atClient, nil).Path
			want := Path{Token: c.clientToken, LocalID: 5, Local: netip.AddrPortFrom(cell, path.Local.Port()), Remote: remote}
			if path != want || path.Local.Port() == 0 {
				t.Errorf("established: %+v, want %+v", path, want)
			}
			peer := awaitEvent[SubflowEstablished](t, tp.atListener, nil).Path
			want = Path{Token: c.serverToken, RemoteID: 5, Local: remote, Remote: path.Local}
			if peer != want {
				t.Errorf("established at server: %+v, want %+v", peer, want)
			}
			if e, err := tp.client.Address(c.clientToken, 5); err != nil || e.Addr != cell || e.Flags&Subflow == 0 {
				t.Errorf("address 5: %+v, %v", e, err)
			}
			if all, err := tp.client.Addresses(c.clientToken); err != nil || len(all) == 0 || all[len(all)-1].ID != 5 {
				t.Errorf("addresses: %+v, %v", all, err)
			}

			// Both links carry bytes.
			const size = 2_000_000
			wifiBefore, cellBefore := counters(t, tp.WiFi), counters(t, tp.Cell)
			c.transfer(t, size)
			for name, n := range map[string]uint64{"wifi": counters(t, tp.WiFi) - wifiBefore, "cell": counters(t, tp.Cell) - cellBefore} {
				if n < size/10 {
					t.Errorf("%s carried %d of %d bytes", name, n, size)
				}
			}

			// The server asks for the second one to be a backup, and not.
			for _, backup := range []bool{true, false} {
				if err := tp.aggregator.SetBackup(c.serverToken, peer.Local, peer.Remote, backup); err != nil {
					t.Fatal(err)
				}
				e := awaitEvent[SubflowPriority](t, tp.atClient, nil)
				if want := path; e.Backup != backup || e.Local != want.Local || e.Remote != want.Remote || e.Token != want.Token {
					t.Errorf("priority: %+v", e)
				}
				if !backup {
					continue
				}
				c.talk(t)
				before := counters(t, tp.Cell)
				c.transfer(t, size)
				if n := counters(t, tp.Cell) - before; n > size/10 {
					t.Errorf("backup link carried %d of %d bytes", n, size)
				}
			}

			// A port that is not the subflow's does not find it.
			wrong := netip.AddrPortFrom(peer.Remote.Addr(), peer.Remote.Port()^1)
			if err := tp.aggregator.SetBackup(c.serverToken, peer.Local, wrong, true); !errors.Is(err, ErrGone) {
				t.Errorf("backup of no subflow: %v", err)
			}
			if err := tp.aggregator.DestroySubflow(c.serverToken, peer.Local, wrong); !errors.Is(err, ErrGone) || !errors.Is(err, unix.ESRCH) {
				t.Errorf("no subflow destroyed: %v", err)
			}
			if err := tp.aggregator.DestroySubflow(c.serverToken, peer.Local, peer.Remote); err != nil {
				t.Fatal(err)
			}
			if e := awaitEvent[SubflowClosed](t, tp.atClient, nil); e.Local != path.Local || e.Remote != path.Remote || e.Token != c.clientToken {
				t.Errorf("closed: %+v", e)
			}
			if _, found := pathOver(t, c.client, cell); found {
				t.Error("subflow lives on")
			}
			// The same ID can be used again for the same address.
			if err := tp.client.CreateSubflow(c.clientToken, local, remote); err != nil {
				t.Errorf("again: %v", err)
			}
			awaitEvent[SubflowEstablished](t, tp.atClient, nil)
			c.close()
			for events, token := range map[*Events]uint32{tp.atClient: c.clientToken, tp.atListener: c.serverToken} {
				if e := awaitEvent[Closed](t, events, nil); e.Token != token {
					t.Errorf("closed %08x, want %08x", e.Token, token)
				}
			}
			// It may stay for the last acknowledgements.
			labtest.Await(t, patience, "commands to the connection fail", func() bool {
				err := tp.client.Announce(c.clientToken, Endpoint{ID: 7, Addr: tp.Cell.Addr.V4})
				return errors.Is(err, ErrGone)
			})
		})
	}
}

func counters(t *testing.T, a lab.Access) uint64 {
	t.Helper()
	c, err := a.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.AToB
}

// The server announces addresses and withdraws one; the client sees both.
func TestAnnounceAndRemove(t *testing.T) {
	tp := newTwoPath(t, lab.TwoPathSpec{})
	to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
	c := connect(t, tp.Client, tp.Aggregator, to, to)
	first, _ := pathOver(t, c.client, tp.WiFi.Addr.V4)
	for _, e := range []Endpoint{
		{ID: 3, Addr: tp.Cell.Gateway.V4},
		{ID: 4, Addr: tp.Cell.Gateway.V6},
		{ID: 5, Addr: tp.WiFi.Gateway.V4, Port: 0x1234},
	} {
		if err := tp.aggregator.Announce(c.serverToken, e); err != nil {
			t.Fatal(err)
		}
		want := Announced{c.clientToken, e.ID, netip.AddrPortFrom(e.Addr, e.Port)}
		if e.Port == 0 {
			want.Addr = netip.AddrPortFrom(e.Addr, first.Remote.Port())
		}
		if got := awaitEvent[Announced](t, tp.atClient, nil); got != want {
			t.Errorf("announced %+v, want %+v", got, want)
		}
		if err := tp.aggregator.Remove(c.serverToken, e.ID); err != nil {
			t.Fatal(err)
		}
		if got := awaitEvent[Removed](t, tp.atClient, nil); got != (Removed{c.clientToken, e.ID}) {
			t.Errorf("removed %+v", got)
		}
	}
	if err := tp.aggregator.Remove(c.serverToken, 99); !errors.Is(err, ErrGone) {
		t.Errorf("unknown ID removed: %v", err)
	}
}

func TestConnectionErrors(t *testing.T) {
	tp := newTwoPath(t, lab.TwoPathSpec{})
	to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
	c := connect(t, tp.Client, tp.Aggregator, to, to)
	first, _ := pathOver(t, c.client, tp.WiFi.Addr.V4)
	local, remote := Endpoint{ID: 5, Addr: tp.Cell.Addr.V4}, first.Remote
	const noToken = 0x12345678
	for _, tt := range []struct {
		name string
		do   func() error
		want error
	}{
		{"create: unknown token", func() error { return tp.client.CreateSubflow(noToken, local, remote) }, ErrGone},
		{"destroy: unknown token", func() error { return tp.client.DestroySubflow(noToken, first.Local, remote) }, ErrGone},
		{"backup: unknown token", func() error { return tp.client.SetBackup(noToken, first.Local, remote, true) }, ErrGone},
		{"announce: unknown token", func() error { return tp.client.Announce(noToken, local) }, ErrGone},
		{"remove: unknown token", func() error { return tp.client.Remove(noToken, 1) }, ErrGone},
		{"addresses: unknown token", func() error { _, err := tp.client.Addresses(noToken); return err }, ErrGone},
		{"create: no ID", func() error {
			return tp.client.CreateSubflow(c.clientToken, Endpoint{Addr: tp.Cell.Addr.V4}, remote)
		}, errNoID},
		{"announce: no address", func() error { return tp.client.Announce(c.clientToken, Endpoint{ID: 1}) }, errNoAddress},
		{"create: families", func() error {
			return tp.client.CreateSubflow(c.clientToken, Endpoint{ID: 1, Addr: tp.Cell.Addr.V6}, remote)
		}, errFamilies},
		{"destroy: no port", func() error {
			return tp.client.DestroySubflow(c.clientToken, netip.AddrPortFrom(first.Local.Addr(), 0), remote)
		}, errNoPort},
		{"backup: no address", func() error { return tp.client.SetBackup(c.clientToken, netip.AddrPort{}, remote, true) }, errNoAddress},
		{"create: address of nobody", func() error {
			return tp.client.CreateSubflow(c.clientToken, Endpoint{ID: 6, Addr: netip.MustParseAddr("192.0.2.77")}, remote)
		}, unix.EADDRNOTAVAIL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); !errors.Is(err, tt.want) || errors.Is(err, ErrNotUserspace) {
				t.Errorf("got %v, want %v", err, tt.want)
			} else {
				t.Log(err)
			}
		})
	}
	if err := tp.client.CreateSubflow(c.clientToken, local, remote); err != nil {
		t.Fatal(err)
	}
	awaitEvent[SubflowEstablished](t, tp.atClient, nil)
	other := local
	other.ID++
	err := tp.client.CreateSubflow(c.clientToken, other, remote)
	var e *OpError
	if !errors.As(err, &e) || e.Errno != unix.EINVAL || e.Message == "" || e.Token != c.clientToken || errors.Is(err, ErrGone) {
		t.Errorf("two IDs for an address: %v", err)
	}
}

func TestKernelPathManagerTakesNoCommands(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	client := dialOn(t, tp.Client)
	to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
	c := connect(t, tp.Client, tp.Aggregator, to, to)
	first, _ := pathOver(t, c.client, tp.WiFi.Addr.V4)
	for name, err := range map[string]error{
		"create":   client.CreateSubflow(c.clientToken, Endpoint{ID: 5, Addr: tp.Cell.Addr.V4}, first.Remote),
		"destroy":  client.DestroySubflow(c.clientToken, first.Local, first.Remote),
		"backup":   client.SetBackup(c.clientToken, first.Local, first.Remote, true),
		"announce": client.Announce(c.clientToken, Endpoint{ID: 5, Addr: tp.Cell.Addr.V4}),
		"remove":   client.Remove(c.clientToken, 0),
	} {
		if !errors.Is(err, ErrNotUserspace) || !errors.Is(err, unix.EINVAL) || errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The kernel path manager follows endpoints that are added, and removed again,
// while a connection lives.
func TestEndpointOfLiveConnection(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	client := dialOn(t, tp.Client)
	if err := client.FlushEndpoints(); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(tp.AggregatorAddr.V6, 0)
	c := connect(t, tp.Client, tp.Aggregator, to, to)
	e := Endpoint{ID: 9, Addr: tp.Cell.Addr.V6, Flags: Subflow}
	if err := client.AddEndpoint(e); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "subflow from the new endpoint", func() bool {
		_, found := pathOver(t, c.client, e.Addr)
		return found
	})
	if err := client.DeleteEndpoint(e.ID, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "end of the subflow", func() bool {
		_, found := pathOver(t, c.client, e.Addr)
		return !found
	})
}

// A subflow that nobody takes at the other end.
func TestRefusedSubflow(t *testing.T) {
	tp := newTwoPath(t, lab.TwoPathSpec{})
	to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
	c := connect(t, tp.Client, tp.Aggregator, to, to)
	first, _ := pathOver(t, c.client, tp.WiFi.Addr.V4)
	local := Endpoint{ID: 5, Addr: tp.Cell.Addr.V4}
	nobody := netip.AddrPortFrom(first.Remote.Addr(), first.Remote.Port()^1)
	if err := tp.client.CreateSubflow(c.clientToken, local, nobody); err != nil {
		t.Fatal(err)
	}
	closed := awaitEvent[SubflowClosed](t, tp.atClient, nil)
	if closed.Local.Addr() != local.Addr || closed.Remote != nobody || closed.Err != unix.ECONNREFUSED {
		t.Errorf("%+v (%v)", closed, closed.Err)
	}
	if err := tp.client.CreateSubflow(c.clientToken, local, first.Remote); err != nil {
		t.Fatal(err)
	}
	awaitEvent[SubflowEstablished](t, tp.atClient, nil)
}

// The server's kernel takes no more subflows, and says so to the ACK that ends
// their handshake: until then the client takes it for established.
func TestProhibitedSubflow(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	userspace(t, tp.Client)
	client, events := dialOn(t, tp.Client), subscribeOn(t, tp.Client, Options{})
	if err := dialOn(t, tp.Aggregator).SetLimits(Limits{}); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
	c := connect(t, tp.Client, tp.Aggregator, to, to)
	first, _ := pathOver(t, c.client, tp.WiFi.Addr.V4)
	if err := client.CreateSubflow(c.clientToken, Endpoint{ID: 5, Addr: tp.Cell.Addr.V4}, first.Remote); err != nil {
		t.Fatal(err)
	}
	established := awaitEvent[SubflowEstablished](t, events, nil)
	if closed := awaitEvent[SubflowClosed](t, events, nil); closed.Path != established.Path {
		t.Errorf("%+v, established %+v", closed, established)
	}
	if _, found := pathOver(t, c.client, tp.Cell.Addr.V4); found {
		t.Error("subflow lives on")
	}
	c.talk(t)
}
