// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/paths/sockdiag"
)

// TestRepairOvertakesEvent: the kernel is asked for subflows before the event
// about the end of one was taken. The event has the last word.
func TestRepairOvertakesEvent(t *testing.T) {
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{}, Policy{})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to))
	labtest.Await(t, patience, "the server's subflow", func() bool {
		return len(established(t, w.server, f.serverToken)) == 1
	})
	first := state(t, w.client, f.clientToken).Subflows[0]
	blocked, release := make(chan struct{}), make(chan struct{})
	w.server.do(func() {
		close(blocked)
		<-release
		w.server.gap, w.server.repairAt = true, w.server.o.now()
	}, 0)
	<-blocked
	run(t, w.Client, "ss", "-K", "src", first.LocalAddr().String())
	awaitGone(t, w.server, first.LocalAddr())
	repairs := w.server.counters.Repairs // its loop waits
	close(release)
	labtest.Await(t, patience, "a repair", func() bool { return w.server.Counters().Repairs > repairs })
	labtest.Await(t, patience, "the loss", func() bool { return !state(t, w.server, f.serverToken).Lost.IsZero() })
	if c := state(t, w.server, f.serverToken); c.LostBy != ResetReceived || len(c.Past) != 1 || c.Past[0].Subflow.Closed != ResetReceived {
		t.Errorf("lost by %s, past %+v", c.LostBy, c.Past)
	}
	if c := w.server.Counters(); c.Closed[Vanished] != 0 {
		t.Errorf("closed %v", c.Closed)
	}
}

// awaitGone waits until the kernel has no subflow with a remote address.
func awaitGone(t *testing.T, e *Engine, remote netip.AddrPort) {
	t.Helper()
	diag, err := sockdiag.Dial(e.o.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	labtest.Await(t, patience, "the subflow to be gone", func() bool {
		all, err := diag.All()
		return err == nil && !slices.ContainsFunc(all, func(s sockdiag.Subflow) bool { return s.Remote == remote })
	})
}
