// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

// TestManage takes over new connections from the in-kernel path manager, and
// leaves it those that it has.
func TestManage(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{Observe: true})
	to := w.AggregatorAddr.V4
	ln := w.listen(to)
	wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
	before := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 4}}, Policy{})
	before.awaitSubflows(wifi, cell)
	for range 2 {
		if err := w.client.Manage(); err != nil {
			t.Fatal(err)
		}
	}
	after := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 3}}, Policy{})
	after.awaitSubflows(wifi, wifi, wifi)
	before.move(before.client, before.server, 100_000)
	before.awaitSubflows(wifi, cell)
	// The loss of a subflow is still told, and leads to nothing that the kernel
	// would refuse.
	run(t, w.Client, "ss", "-K", "src", w.Cell.Addr.V4.String())
	labtest.Await(t, patience, "its end", func() bool { return len(state(t, w.client, before.clientToken).Past) == 1 })
	if n := w.client.Counters(); len(n.Refused) != 0 {
		t.Errorf("refused: %v", n.Refused)
	}
	if err := w.client.Close(); err != nil {
		t.Fatal(err)
	}
	leftToKernel(t, w)
	if err := w.client.Manage(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func leftToKernel(t *testing.T, w *world) {
	t.Helper()
	if err := w.Client.Do(func() error {
		name, err := mptcp.PathManager()
		if name != mptcp.PathManagerKernel {
			t.Errorf("path manager %s", name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestUnmanage gives new connections back to the in-kernel path manager, and takes
// them over once more.
func TestUnmanage(t *testing.T) {
	w := newWorld(t, "eBPF", lab.TwoPathSpec{}, Options{Observe: true})
	to := w.AggregatorAddr.V4
	ln := w.listen(to)
	wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
	for range 2 {
		if err := w.client.Manage(); err != nil {
			t.Fatal(err)
		}
		ours := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 3}}, Policy{})
		ours.awaitSubflows(wifi, wifi, wifi)
		if err := w.client.Unmanage(); err != nil {
			t.Fatal(err)
		}
		leftToKernel(t, w)
		theirs := w.connect(ln, to, Policy{Manager: NDiffPorts{N: 4}}, Policy{})
		theirs.awaitSubflows(wifi, cell)
		ours.move(ours.client, ours.server, 100_000)
		ours.awaitSubflows(wifi, wifi, wifi)
	}
	if err := w.client.Close(); err != nil {
		t.Fatal(err)
	}
	leftToKernel(t, w)
	if err := w.client.Unmanage(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
