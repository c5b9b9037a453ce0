// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/options"
)

func TestChoose(t *testing.T) {
	g := &gateway{}
	_, c := serve(t, g)
	got, err := c.Choose(t.Context(), 7, OptionChange{Set: map[string]string{"scheduler": "active-standby"}, Clear: []string{"user-timeout"}})
	if err != nil {
		t.Fatal(err)
	}
	want := ConnectionOptions{Options: []ConnectionOption{
		{Option: "scheduler", Value: "primary", By: "operator", Why: "as asked"},
		{Option: "user-timeout", Value: "default", Asked: "1m", By: "kernel", Why: "unsupported", Detail: "scheduler=primary"},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(g.cleared) != 1 || g.cleared[0] != options.UserTimeout {
		t.Errorf("cleared %v", g.cleared)
	}
	if got.Of("user-timeout") == nil || got.Of("delayed-ack") != nil || (*ConnectionOptions)(nil).Of("scheduler") != nil {
		t.Error("options are not found by name")
	}
}

func TestChooseMistakes(t *testing.T) {
	g := &gateway{}
	_, c := serve(t, g)
	for _, m := range []struct {
		name   string
		id     uint64
		change OptionChange
		err    error // of the gateway
		status int
		words  string
	}{
		{"no connection", 8, OptionChange{Clear: []string{"scheduler"}}, nil, 404, "no connection 8"},
		{"unknown option", 1, OptionChange{Set: map[string]string{"speed": "9"}}, nil, 422, `"speed": no such option: want one of scheduler`},
		{"bad value", 1, OptionChange{Set: map[string]string{"scheduler": "lowest-latency"}}, nil, 422, "no such scheduler; want default, primary"},
		{"unknown option to clear", 1, OptionChange{Clear: []string{"speed"}}, nil, 422, `"speed": no such option`},
		{"both", 1, OptionChange{Set: map[string]string{"scheduler": "primary"}, Clear: []string{"scheduler"}}, nil, 422, "to be set and to be taken back"},
		{"nothing", 1, OptionChange{}, nil, 400, "no option is named"},
		{"not relayed", notRelayed, OptionChange{Clear: []string{"scheduler"}}, nil, 409, "not relayed"},
		{"stalls", 1, OptionChange{Set: map[string]string{"subflow-rate-limit": "0"}}, options.CheckOwn(mustParse(t, "subflow-rate-limit=0")), 422, "say which"},
		{"trouble", 1, OptionChange{Clear: []string{"scheduler"}}, errors.New("trouble"), 500, "trouble"},
	} {
		t.Run(m.name, func(t *testing.T) {
			g.err = m.err
			_, err := c.Choose(t.Context(), m.id, m.change)
			var e *Error
			if !errors.As(err, &e) || e.Status != m.status || !strings.Contains(strings.ReplaceAll(e.Error(), "\n", "; "), m.words) {
				t.Errorf("%v, want status %d and %q", err, m.status, m.words)
			}
		})
	}
}

func mustParse(t *testing.T, text string) options.Set {
	t.Helper()
	s, err := options.ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// FuzzOptionChange has anything for a body: what is refused is so with a status
// of the client's, and what is taken has a meaning.
func FuzzOptionChange(f *testing.F) {
	f.Add([]byte(`{"set":{"scheduler":"weighted:80,20"},"clear":["user-timeout"]}`))
	f.Add([]byte(`{"set":{"subflow-rate-limit":"2:0"}}`))
	f.Add([]byte(`{"clear":["all"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var change OptionChange
		if json.Unmarshal(body, &change) != nil {
			return
		}
		set, clear, err := change.parse()
		var e *Error
		if err != nil {
			if !errors.As(err, &e) || e.Status < 400 || e.Status >= http.StatusInternalServerError {
				t.Fatalf("%v", err)
			}
			return
		}
		if n := len(clear); set.Empty() && n == 0 || n != len(change.Clear) {
			t.Fatalf("%s: %q, %v", body, set, clear)
		}
		if again, err := options.ParseSet(set.String()); err != nil || again != set {
			t.Fatalf("%q becomes %q, %v", set, again, err)
		}
	})
}
