// SPDX-License-Identifier: Apache-2.0

package web

import (
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// TestPageKnowsAllOptions has each option in the list to choose from, with an
// example that can be typed in.
func TestPageKnowsAllOptions(t *testing.T) {
	script, err := files.ReadFile("page/options.js")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "const examples = {")
	list, _, _ = strings.Cut(list, "};")
	for o := range options.All() {
		if !strings.Contains(string(script), `"`+o.String()+`", `) && !strings.Contains(string(script), `"`+o.String()+`"]`) {
			t.Errorf("%s cannot be chosen", o)
		}
		_, example, ok := strings.Cut(list, `"`+o.String()+`": "`)
		example, _, _ = strings.Cut(example, `"`)
		if _, err := o.Parse(example); !ok || err != nil {
			t.Errorf("%s: example %q: %v", o, example, err)
		}
	}
}

// TestPageKnowsAllReasons has words for each reason why a leg is plain TCP.
func TestPageKnowsAllReasons(t *testing.T) {
	script, err := files.ReadFile("page/connections.js")
	if err != nil {
		t.Fatal(err)
	}
	for r := mptcp.None + 1; int(r) < mptcp.NumReasons; r++ {
		if !strings.Contains(string(script), " "+r.String()+`: "`) {
			t.Errorf("no words for %s", r)
		}
	}
}
