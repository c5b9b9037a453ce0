// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestQuick runs short forms for real: they end, with right bytes, a table, a
// plot and samples. How fast it was is not judged.
func TestQuick(t *testing.T) {
	l, err := lab.New("pathsprobe")
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tandem := filepath.Join(dir, "tandem")
	if out, err := exec.Command("go", "build", "-o", tandem, "../../cmd/tandem").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var progress, lines, written bytes.Buffer
	e := &env{tandem: tandem, quick: true, dir: dir, progress: &progress, lines: &lines}
	chosen, err := choose("refreshing,handover")
	if err != nil {
		t.Fatal(err)
	}
	if err := runAll(t.Context(), e, chosen, &written); err != nil {
		t.Fatalf("%v\n%s%s", err, &progress, &written)
	}
	right := 0
	for d := json.NewDecoder(&lines); d.More(); {
		var line struct {
			Kind  string
			Value json.RawMessage
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		var v verdict
		if line.Kind == "verdict" && json.Unmarshal(line.Value, &v) == nil && v.Asked == "nothing lost, hash right" && v.Met {
			right++
		}
	}
	if right != len(chosen) {
		t.Errorf("%d of %d transfers were right\n%s", right, len(chosen), &written)
	}
	for _, x := range chosen {
		if info, err := os.Stat(filepath.Join(dir, "paths-"+x.id+".svg")); err != nil || info.Size() == 0 {
			t.Errorf("plot of %s: %v", x.id, err)
		}
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(""); err != nil || len(all) != len(experiments) {
		t.Errorf("%d by default, %v", len(all), err)
	}
	if _, err := choose("healing, nonsense"); err == nil {
		t.Error("nonsense is accepted")
	}
}
