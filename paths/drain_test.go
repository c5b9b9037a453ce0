// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// drain asks an end of a flow to give paths up, and returns what it answers.
func drain(t *testing.T, e *Engine, token uint32, numbers ...int) error {
	t.Helper()
	answer := make(chan error, 1)
	e.Drain(token, numbers, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		t.Fatal("no answer")
		return nil
	}
}

// TestDrain gives each of two paths up while data goes over both, and takes it
// back. Nothing is opened meanwhile, and no byte is lost.
func TestDrain(t *testing.T) {
	for _, source := range sources {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			rate := lab.LinkSpec{Rate: 40e6, Delay: 5 * time.Millisecond}
			w := newWorld(t, source, lab.TwoPathSpec{WiFi: rate, Cell: rate}, Options{})
			to := w.AggregatorAddr.V4
			f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
			wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
			f.awaitSubflows(wifi, cell)
			const size = 5e6
			up, down := f.start(f.client, f.server, size), f.start(f.server, f.client, size)
			opened := w.client.Counters().Opened[ByPolicy]
			for i, other := range []string{cell, wifi} {
				if err := drain(t, w.client, f.clientToken, i+1); err != nil {
					t.Fatal(err)
				}
				f.awaitSubflows(other)
				// The manager is told that something has changed.
				f.w.client.ask(func() { f.w.client.networkChanged(time.Now()) })
				labtest.Await(t, patience, "the subflow to be gone", func() bool { return w.client.Counters().Closed[Drained] == uint64(i+1) })
				f.awaitSubflows(other)
				if got := w.client.Counters().Opened[ByPolicy]; got != opened {
					t.Errorf("%d subflows were opened, want %d", got, opened)
				}
				if err := drain(t, w.client, f.clientToken); err != nil {
					t.Fatal(err)
				}
				f.awaitSubflows(wifi, cell)
				opened++
			}
			if err := errors.Join(up(), down()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDrainLast: a connection gets back what it gave up when it has nothing else,
// and gives it up again when it has.
func TestDrainLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	f := w.connect(w.listen(to), to, Policy{Manager: FullMesh{}}, Policy{})
	wifi, cell := pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to)
	f.awaitSubflows(wifi, cell)
	if err := drain(t, w.client, f.clientToken, 2); err != nil {
		t.Fatal(err)
	}
	f.awaitSubflows(wifi)
	if err := w.WiFi.Down(); err != nil {
		t.Fatal(err)
	}
	f.awaitSubflows(cell)
	f.move(f.client, f.server, 100_000)
	if err := w.WiFi.Up(); err != nil {
		t.Fatal(err)
	}
	f.awaitSubflows(wifi)
	f.move(f.server, f.client, 100_000)
	// Neither of both, which cannot be.
	if err := drain(t, w.client, f.clientToken, 1, 2); err != nil {
		t.Fatal(err)
	}
	f.move(f.client, f.server, 100_000)
	if established(t, w.client, f.clientToken) == nil {
		t.Error("no subflow is left")
	}
}

// TestDrainNotOurs: what this end has not opened it does not close.
func TestDrainNotOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "netlink", lab.TwoPathSpec{}, Options{})
	to := w.AggregatorAddr.V4
	ln := w.listen(to)
	f := w.connect(ln, to, Policy{Manager: FullMesh{}}, Policy{Manager: FullMesh{}})
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
	if err := drain(t, w.server, f.serverToken, 2); !errors.Is(err, ErrPeers) {
		t.Errorf("accepted connection: %v", err)
	}
	left := w.connect(ln, to, Policy{}, Policy{})
	if err := drain(t, w.client, left.clientToken, 2); !errors.Is(err, ErrKernels) {
		t.Errorf("connection without a manager: %v", err)
	}
	if err := drain(t, w.client, 1, 2); !errors.Is(err, ErrKernels) {
		t.Errorf("unknown connection: %v", err)
	}
	f.awaitSubflows(pair(w.WiFi.Addr.V4, to), pair(w.Cell.Addr.V4, to))
}
