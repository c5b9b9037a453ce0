// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"regexp"
	"testing"
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
