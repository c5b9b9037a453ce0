// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the bad files in testdata are expected to yield")

// Each bad file ends with this line and then, as comments, the mistakes that
// are to be found in it.
const expected = "# want:\n"

func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content, want, _ := strings.Cut(string(data), expected)
			got := mistakes(t, content)
			if *update {
				if err := os.WriteFile(file, []byte(content+expected+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("mistakes (-want +got):\n%s", d)
			}
		})
	}
}

// mistakes reads a configuration with mistakes and lists them as comments.
func mistakes(t *testing.T, content string) string {
	t.Helper()
	_, err := Parse("FILE", []byte(content))
	var all Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("error is %v, want mistakes", err)
	}
	var b strings.Builder
	for line := range strings.Lines(all.Error() + "\n") {
		place, named := strings.CutPrefix(line, "FILE:")
		if !named {
			t.Errorf("%q does not begin with the file", line)
		}
		b.WriteString("# " + place)
	}
	return b.String()
}
