// SPDX-License-Identifier: Apache-2.0

package capacity

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// results are those of an experiment that gives them instead of measuring.
func results(t *testing.T, id string, run func(*experiment.Result) error) *experiment.Results {
	t.Helper()
	dir := t.TempDir()
	x := experiment.Experiment{ID: id, Run: func(_ context.Context, _ *experiment.Env, r *experiment.Result) error { return run(r) }}
	err := experiment.Run(t.Context(), experiment.Options{Dir: dir}, []experiment.Experiment{x})
	if err != nil && !errors.Is(err, experiment.ErrFailed) {
		t.Fatal(err)
	}
	r, err := experiment.ReadResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFromResults(t *testing.T) {
	cheap := experiment.Measured{
		CPUPerConnection: 1, CPUPerGB: 1, UserMemory: 1, KernelMemory: 1, IdleCPU: 1, BaseMemory: 1,
	}
	r := results(t, CurveID, func(r *experiment.Result) error {
		r.Add("10", 0, cheap)
		r.Add("no number", 0, cheap)
		for i, us := range []float64{90, 120, 100} {
			r.Add("2000", i, experiment.Measured{
				CPUPerConnection: us, CPUPerGB: 0.25, UserMemory: 2, KernelMemory: 18, IdleCPU: 4, BaseMemory: 20,
			})
		}
		return nil
	})
	got, err := FromResults(r, "here", 0)
	want := Costs{
		Origin: "here", About: r.About.String(), Connections: 2000, Busy: 2000,
		ConnectionCPU: 100e-6, GigabyteCPU: 0.25, TunnelUser: 1000, TunnelKernel: 9000, TunnelCPU: 2e-6, Base: 20e6,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	if got, err := FromResults(r, "here", 10); err != nil || got.GigabyteCPU != 1 || got.Busy != 10 || got.Connections != 2000 {
		t.Errorf("with 10 busy ones: %v, %+v", err, got)
	}
	if got, err := FromResults(r, "here", 11); !errors.Is(err, ErrNoCurve) {
		t.Errorf("with 11 busy ones: %v, %+v", err, got)
	}
}

func TestNoResults(t *testing.T) {
	for name, tt := range map[string]struct {
		id   string
		run  func(*experiment.Result) error
		want error
	}{
		"another experiment": {"other", func(*experiment.Result) error { return nil }, ErrNoCurve},
		"failed":             {CurveID, func(*experiment.Result) error { return os.ErrPermission }, ErrNoCurve},
		"no repetitions":     {CurveID, func(*experiment.Result) error { return nil }, ErrNoCurve},
		"nothing gained":     {CurveID, func(r *experiment.Result) error { r.Add("5", 0, experiment.Measured{CPUPerGB: 1}); return nil }, ErrUnusable},
	} {
		if c, err := FromResults(results(t, tt.id, tt.run), "", 0); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %+v", name, err, c)
		}
	}
}

func TestReadCosts(t *testing.T) {
	p, err := New(costs, assumptions)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "costs.json")
	for name, value := range map[string]any{"costs": costs, "a plan": p} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadCosts(file); err != nil || got != costs {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
	for text, want := range map[string]error{"{}": ErrUnusable, `{"costs": {"gigabyte_cpu_s": 1}}`: ErrUnusable} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if c, err := ReadCosts(file); !errors.Is(err, want) {
			t.Errorf("%s: %v, %+v", text, err, c)
		}
	}
	if _, err := ReadCosts(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
