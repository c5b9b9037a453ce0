// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/capacity"
)

// TestBenchCapacity reckons with costs of a file: text, JSON, and JSON read
// again.
func TestBenchCapacity(t *testing.T) {
	file := filepath.Join(t.TempDir(), "costs.json")
	text, err := json.Marshal(capacity.Costs{
		Origin: "made up by a test", ConnectionCPU: 200e-6, GigabyteCPU: 0.4, TunnelUser: 1000, TunnelKernel: 9000, Base: 20e6,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	// 2 Gbit/s, 100 connections/s, 21,000 connections for all: 0.12 cores.
	args := []string{"capacity", "--subscribers", "1000", "--active", "0.2", "--mbit", "10", "--connections", "1800", "--lifetime", "10s", "--tunnels", "20",
		"--head-room", "0.5", "--cores", "2", "--memory", "10", "--reserved", "2", "--link", "1"}
	out, err := bench(t, append(args, "--costs", file)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"made up by a test", "20.0 Gbit/s, or 5,000 new connections/s", "8,333 subscribers", "is enough for 250 subscribers: it binds",
		"The region: 4 machines", "2.00 Gbit/s, 100 new connections/s, 21,000 connections", "0.12: 0.1 for bytes, 0.02 for new connections",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	out, err = bench(t, append(args, "--costs", file, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	var first, second capacity.Plan
	if err := json.Unmarshal([]byte(out), &first); err != nil || first.Region.Machines != 4 || first.Machine.Binds != capacity.Link {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = bench(t, append(args, "--costs", file, "--json")...)
	if err != nil || json.Unmarshal([]byte(out), &second) != nil {
		t.Fatalf("with costs of a plan: %v\n%s", err, out)
	}
	if second.Region.Cores != first.Region.Cores {
		t.Errorf("costs of a plan give %v cores, want %v", second.Region.Cores, first.Region.Cores)
	}
}

// TestBenchCapacityRefuses gives no answer where none can be had, and measures
// nothing before it says so.
func TestBenchCapacityRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want error
	}{
		{[]string{"--active", "2"}, capacity.ErrAssumption},
		{[]string{"--memory", "1"}, capacity.ErrAssumption},
		{[]string{"--results", t.TempDir()}, os.ErrNotExist},
		{[]string{"--costs", filepath.Join(t.TempDir(), "none")}, os.ErrNotExist},
	} {
		if out, err := bench(t, append([]string{"capacity"}, tt.args...)...); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v\n%s", tt.args, err, tt.want, out)
		}
	}
	if _, err := bench(t, "capacity", "--results", "a", "--costs", "b"); err == nil {
		t.Error("two origins of costs are accepted")
	}
}

// TestBenchCapacityMeasures has the program measure for itself, for a moment.
func TestBenchCapacityMeasures(t *testing.T) {
	needRoot(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "bench", "capacity", "--quick", "--json")
	cmd.Env = append(os.Environ(), asTandem+"=1", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	var progress bytes.Buffer
	cmd.Stderr = &progress
	out, err := cmd.Output()
	var p capacity.Plan
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil || p.Costs.Origin != "measured now" || p.Costs.Connections != 1000 || p.Region.Machines == 0 {
		t.Errorf("%v: %s%s", err, &progress, out)
	}
}
