// SPDX-License-Identifier: Apache-2.0

package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// TestPageKnowsAllOptions has the page get each option to choose from, with an
// example that can be typed in.
func TestPageKnowsAllOptions(t *testing.T) {
	answer := httptest.NewRecorder()
	Page().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/page/examples.js", nil))
	if kind := answer.Header().Get("Content-Type"); answer.Code != http.StatusOK || !strings.HasPrefix(kind, "text/javascript") {
		t.Fatalf("status %d, type %q", answer.Code, kind)
	}
	script := answer.Body.String()
	list, ok := strings.CutPrefix(script, "export const all = ")
	var all [][2]string
	if err := json.Unmarshal([]byte(strings.TrimSuffix(list, ";\n")), &all); !ok || err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	names := options.Names()
	for i, pair := range all {
		o, err := options.Named(pair[0])
		if err == nil {
			_, err = o.Parse(pair[1])
		}
		if err != nil || i >= len(names) || names[i] != pair[0] {
			t.Errorf("%s=%s: %v", pair[0], pair[1], err)
		}
	}
	if len(all) != len(names) {
		t.Errorf("%d options, want %d", len(all), len(names))
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
