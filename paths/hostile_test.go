// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// TestPeerThatFlaps opens and resets subflows as fast as the kernel can, from
// the other side of one connection. That is limited, and another connection of
// the same engine gets its subflows, has them restored, and moves its bytes.
func TestPeerThatFlaps(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
			if source == "eBPF" {
				if err := w.server.Close(); err != nil {
					t.Fatal(err)
				}
				w.server = w.engineOn(w.Aggregator, Options{Events: events(t, bpf.Options{})})
			}
			to := w.AggregatorAddr.V4
			ln := w.listen(to)
			hostile := w.hostile(ln, to)
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer running.Wait()
			defer stop()
			running.Go(func() { hostile.flap(ctx) })
			labtest.Await(t, patience, "subflows beyond the limit", func() bool {
				return w.server.Counters().Closed[TooMany] >= 50
			})

			f := w.connect(ln, to, Policy{Manager: FullMesh{}}, Policy{})
			wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
			f.awaitSubflows(wifi, cell)
			f.move(f.client, f.server, 1<<20)
			if err := w.Cell.Down(); err != nil {
				t.Fatal(err)
			}
			f.awaitSubflows(wifi)
			if err := w.Cell.Up(); err != nil {
				t.Fatal(err)
			}
			f.awaitSubflows(wifi, cell)
			f.move(f.server, f.client, 1<<20)
			labtest.Await(t, patience, "the server's side of both", func() bool {
				return len(established(t, w.server, f.serverToken)) == 2
			})
			n := w.server.Counters().Closed[TooMany]
			labtest.Await(t, patience, "the limit still at work", func() bool { return w.server.Counters().Closed[TooMany] > n })
			stop()
			running.Wait()
			hostile.move(hostile.client, hostile.server, 1000)
			// None of the others was taken for one too many.
			for _, s := range state(t, w.server, f.serverToken).Past {
				if s.Subflow.Closed == TooMany {
					t.Errorf("%+v", s)
				}
			}
			labtest.Await(t, patience, "few subflows of the hostile peer", func() bool {
				return len(established(t, w.server, hostile.serverToken)) <= DefaultMaxSubflows
			})
		})
	}
}

// hostile makes a connection from a host whose subflows the test opens.
func (w *world) hostile(ln *net.TCPListener, to netip.Addr) *flow {
	w.t.Helper()
	f := &flow{w: w}
	if err := w.Server.Do(func() error {
		if _, err := mptcp.SetPathManager(mptcp.PathManagerUserspace); err != nil {
			return err
		}
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		c, err := d.DialContext(w.t.Context(), "tcp", netip.AddrPortFrom(to, ln.Addr().(*net.TCPAddr).AddrPort().Port()).String())
		if err == nil {
			f.client = c.TCPConn
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.client.Close() })
	var err error
	if f.server, err = ln.AcceptTCP(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.server.Close() })
	f.clientToken, f.serverToken = tokenOf(w.t, f.client), tokenOf(w.t, f.server)
	w.server.Adopt(f.serverToken, &Policy{}, false)
	f.move(f.client, f.server, 1)
	f.move(f.server, f.client, 1)
	return f
}

// flap opens subflows and resets them at once, until ctx ends.
func (f *flow) flap(ctx context.Context) {
	t, w := f.w.t, f.w
	ns := netns.None()
	if err := w.Server.Do(func() (err error) { ns, err = netns.Get(); return err }); err != nil {
		t.Error(err)
		return
	}
	defer ns.Close()
	client, err := pm.Dial(pm.Options{NetNS: int(ns)})
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	events, err := pm.Subscribe(pm.Options{NetNS: int(ns), Buffer: 4 << 20})
	if err != nil {
		t.Error(err)
		return
	}
	defer events.Close()
	remote := f.server.LocalAddr().(*net.TCPAddr).AddrPort()
	local := pm.Endpoint{ID: 9, Addr: w.ServerAddr.V4}
	// Several are on their way at any time.
	for range 4 {
		_ = client.CreateSubflow(f.clientToken, local, remote)
	}
	for ctx.Err() == nil {
		ev, err := events.Next(ctx)
		if err != nil {
			return
		}
		switch ev := ev.(type) {
		case pm.SubflowEstablished:
			if ev.Token == f.clientToken {
				// The server may have been quicker.
				_ = client.DestroySubflow(ev.Token, ev.Local, ev.Remote)
				_ = client.CreateSubflow(f.clientToken, local, remote)
			}
		case pm.SubflowClosed:
			if ev.Token == f.clientToken {
				_ = client.CreateSubflow(f.clientToken, local, remote)
			}
		}
	}
}
