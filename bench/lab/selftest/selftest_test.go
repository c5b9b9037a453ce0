// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestMeter(t *testing.T) *meter {
	t.Helper()
	l, err := lab.New("meter")
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := newMeter(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

// TestLinkDoesWhatIsAsked holds on a loaded machine as well: nothing comes
// early or faster than asked, and what counts packets is exact.
func TestLinkDoesWhatIsAsked(t *testing.T) {
	m := newTestMeter(t)
	if err := m.reset(emulator.Conditions{Rate: 20e6}); err != nil {
		t.Fatal(err)
	}
	rate, err := m.throughput(t.Context(), 20e6, 500*time.Millisecond)
	if err != nil || rate > 22e6 {
		t.Errorf("%.0f bit/s over 20 Mbit/s (%v)", rate, err)
	}
	probes, err := m.probe(t.Context(), emulator.Conditions{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond}, 50, time.Millisecond)
	if err != nil || len(probes) != 50 {
		t.Fatalf("%d probes of 50 came (%v)", len(probes), err)
	}
	if d := probes.delays(); d[0] < 15 {
		t.Errorf("a packet took %.2f ms over a delay of at least 15 ms", d[0])
	}
	if probes.overtaken() != 0 {
		t.Error("jitter has reordered packets")
	}
	for _, measure := range []func(*meter) error{
		func(m *meter) error { return m.reordering(t.Context(), wantOK(t)) },
		func(m *meter) error { return m.queue(t.Context(), wantAtLeast(t)) },
		func(m *meter) error { return m.change(t.Context(), wantAtLeast(t)) },
		func(m *meter) error { return m.outage(t.Context(), wantOK(t)) },
	} {
		if err := measure(m); err != nil {
			t.Error(err)
		}
	}
}

func wantOK(t *testing.T) func(Result) {
	return func(r Result) {
		if !r.OK() {
			t.Errorf("%+v", r)
		}
	}
}

// wantAtLeast allows for a burst that is slow to be sent.
func wantAtLeast(t *testing.T) func(Result) {
	return func(r Result) {
		if r.Measured < r.Asked-r.Tolerance || r.Measured > 2*r.Asked {
			t.Errorf("%+v", r)
		}
	}
}

func TestResultOK(t *testing.T) {
	for _, tt := range []struct {
		r    Result
		want bool
	}{
		{Result{Asked: 10, Measured: 10.2, Tolerance: 0.3}, true},
		{Result{Asked: 10, Measured: 9.6, Tolerance: 0.3}, false},
		{Result{Asked: 0, Measured: 0}, true},
	} {
		if got := tt.r.OK(); got != tt.want {
			t.Errorf("%+v: %v", tt.r, got)
		}
	}
}
