// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated compiles the programs again and compares.
func TestGenerated(t *testing.T) {
	const compiler = "clang-14"
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skipf("needs %s to tell whether the committed objects are up to date", compiler)
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "generate", ".")
	cmd.Env = append(os.Environ(), "TANDEM_BPF_OUTPUT="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go generate: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_bpfe[lb].*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing was generated: %v", err)
	}
	for _, file := range files {
		fresh, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(filepath.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fresh, committed) {
			t.Errorf("%s is not what its source gives: run go generate ./bpf", filepath.Base(file))
		}
	}
}
