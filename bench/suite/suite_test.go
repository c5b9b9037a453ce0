// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

// TestDescribed wants of each experiment what its reader needs.
func TestDescribed(t *testing.T) {
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, x := range Experiments() {
		if !id.MatchString(x.ID) || seen[x.ID] {
			t.Errorf("id %q is not well-formed or there twice", x.ID)
		}
		seen[x.ID] = true
		if x.Title == "" || x.Question == "" || x.Setup == "" || x.Run == nil {
			t.Errorf("%s lacks title, question, set-up or function", x.ID)
		}
		if x.Takes <= 0 || x.Quick <= 0 || x.Quick > x.Takes {
			t.Errorf("%s takes %v, in its short form %v", x.ID, x.Takes, x.Quick)
		}
		metrics := map[string]bool{}
		for _, m := range x.Metrics {
			if m.Name == "" || metrics[m.Name] {
				t.Errorf("%s: metric %q has no name or is there twice", x.ID, m.Name)
			}
			metrics[m.Name] = true
		}
	}
}

// TestSet wants of what make bench runs that it exists and takes 20 minutes at
// most.
func TestSet(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?m)^BENCH_SET := (.+)$`).FindSubmatch(makefile)
	if set == nil {
		t.Fatal("the Makefile has no BENCH_SET")
	}
	chosen, err := experiment.Choose(Experiments(), strings.Fields(string(set[1])))
	if err != nil {
		t.Fatal(err)
	}
	var takes time.Duration
	for _, x := range chosen {
		takes += x.Takes
	}
	if takes > 20*time.Minute {
		t.Errorf("make bench takes %v", takes)
	}
	t.Logf("%d experiments, %v", len(chosen), takes)
}

// TestShort wants of short forms that all of them, which run in tests, take
// three minutes at most.
func TestShort(t *testing.T) {
	var takes time.Duration
	for _, x := range Experiments() {
		takes += x.Quick
	}
	if takes > 3*time.Minute {
		t.Errorf("all short forms take %v", takes)
	}
	t.Logf("%d short forms, %v", len(Experiments()), takes)
}

// TestDocumented wants every experiment with its question in the documentation.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/bench.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range Experiments() {
		if !strings.Contains(string(text), "| `"+x.ID+"` | "+x.Question+" |") {
			t.Errorf("docs/bench.md lacks %s with its question", x.ID)
		}
	}
}
