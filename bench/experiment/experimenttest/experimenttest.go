// SPDX-License-Identifier: Apache-2.0

// Package experimenttest runs short forms of experiments in tests.
package experimenttest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/lab"
)

// Tandem builds the program, and skips the test where no lab can be made.
func Tandem(t testing.TB) string {
	t.Helper()
	l, err := lab.New("probe")
	if errors.Is(err, lab.ErrNeedsRoot) || errors.Is(err, lab.ErrNoMPTCP) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "tandem")
	out, err := exec.Command("go", "build", "-o", program, "github.com/tandem-gateway/tandem/cmd/tandem").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// Quick runs the short forms of experiments with the given ids and fails the
// test if one fails, or leaves no table, an empty plot or a published value
// without one beside it. It returns what they
// have found, for the test to look at what has to be so however slow the
// machine is. The package's TestMain has to call [experiment.ChildMain] if they
// start children.
func Quick(t testing.TB, all []experiment.Experiment, ids ...string) map[string]*experiment.Outcome {
	t.Helper()
	chosen, err := experiment.Choose(all, ids)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var text, progress bytes.Buffer
	o := experiment.Options{
		Env: experiment.Env{Tandem: Tandem(t), Self: self, Quick: true, Seed: 1},
		Dir: t.TempDir(), Text: &text, Progress: &progress,
	}
	if err := experiment.Run(t.Context(), o, chosen); err != nil {
		t.Fatalf("%v\n%s%s", err, &progress, &text)
	}
	results, err := experiment.ReadResults(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*experiment.Outcome{}
	for _, x := range results.Outcomes {
		found[x.ID] = x
		if x.End != nil {
			t.Logf("%s took %.1f s", x.ID, x.End.Seconds)
		}
		if x.Failed() != "" || len(x.Tables) == 0 {
			t.Errorf("%s: failed %q, %d tables", x.ID, x.Failed(), len(x.Tables))
		}
		for _, p := range x.Published {
			if x.Ours[p.Source] == "" {
				t.Errorf("%s has nothing beside what is published of %s", x.ID, p.Source)
			}
		}
		for _, p := range x.Plots {
			if info, err := os.Stat(filepath.Join(o.Dir, p.File)); err != nil || info.Size() == 0 {
				t.Errorf("plot %s: %v", p.File, err)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s%s", &progress, &text)
	}
	return found
}
