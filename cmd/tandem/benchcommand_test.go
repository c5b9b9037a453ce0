// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// bench runs the command without the rest of the program.
func bench(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := benchCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	var out bytes.Buffer
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestBenchCommand(t *testing.T) {
	dir := t.TempDir()
	example := []experiment.Experiment{{ID: "example", Title: "An example", Run: func(_ context.Context, _ *experiment.Env, r *experiment.Result) error {
		r.Judge(true, "it runs", "it does")
		return nil
	}}}
	if err := experiment.Run(t.Context(), experiment.Options{Dir: dir}, example); err != nil {
		t.Fatal(err)
	}
	if out, err := bench(t, "list"); err != nil || !strings.Contains(out, "apps-voice") || !strings.Contains(out, "paths-handover") {
		t.Errorf("list: %v\n%s", err, out)
	}
	if _, err := bench(t, "run"); !errors.Is(err, errWhichExperiments) {
		t.Errorf("run of nothing: %v", err)
	}
	if out, err := bench(t, "compare", dir, filepath.Join(dir, experiment.ResultsFile)); err != nil || !strings.Contains(out, "example: An example") {
		t.Errorf("compare: %v\n%s", err, out)
	}
	if _, err := bench(t, "report", dir); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, reportFile)); err != nil || !strings.Contains(string(text), "An example") {
		t.Errorf("report: %v, or nothing of the example", err)
	}
	if _, err := bench(t, "report", t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("report of nothing: %v", err)
	}
}
