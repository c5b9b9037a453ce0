// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/options"
)

func TestChooseAll(t *testing.T) {
	g := &gateway{connections: some(8 * 100)}
	for i := range g.connections {
		if c := &g.connections[i]; i >= 792 {
			c.Phase = "connecting"
		}
	}
	var log strings.Builder
	_, c := serve(t, g, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	primary := OptionChange{Set: map[string]string{"scheduler": "primary"}}
	reasons := map[string]int{"scheduler is not in force: reason 2": 1, "scheduler is not in force: reason 4": 1, "scheduler is not in force: reason 6": 1}
	for _, tt := range []struct {
		name   string
		filter Filter
		all    bool
		dryRun bool
		change OptionChange
		want   Changed
	}{
		{"a prefix", Filter{Client: netip.MustParsePrefix("10.0.0.0/29")}, false, false, primary,
			Changed{Matched: 8, Changed: 2, Unchanged: 1, NotRelayed: 2, Refused: reasons}}, // 3 and 7, 1, 5 and 8
		{"only counted", Filter{Client: netip.MustParsePrefix("10.0.0.0/29")}, false, true, primary, Changed{Matched: 8, Changed: 8, Refused: map[string]int{}}},
		{"not relayed", Filter{Token: 797}, false, false, primary, Changed{Matched: 1, NotRelayed: 1, Refused: map[string]int{}}},
		{"none", Filter{User: "nobody"}, false, false, primary, Changed{Refused: map[string]int{}}},
		{"another server", Filter{Server: netip.MustParsePrefix("203.0.113.81/32")}, false, true, primary, Changed{Refused: map[string]int{}}},
		{"all are counted", Filter{}, true, true, primary, Changed{Matched: 800, Changed: 792, NotRelayed: 8, Refused: map[string]int{}}},
		{"taken back", Filter{Token: 2}, false, false, OptionChange{Clear: []string{"scheduler"}}, Changed{Matched: 1, Changed: 1, Refused: map[string]int{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.ChooseAll(t.Context(), tt.filter, tt.all, tt.dryRun, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	got, err := c.ChooseAll(t.Context(), Filter{Limit: 1}, true, false, primary)
	if err != nil {
		t.Fatal(err)
	}
	sum := got.Changed + got.Unchanged + got.NotRelayed
	for _, n := range got.Refused {
		sum += n
	}
	if got.Matched != 800 || sum != 800 || len(got.Refused) != maxReasons+1 || got.Refused["other reasons"] != 3*99-maxReasons {
		t.Errorf("%+v", got)
	}
	for _, words := range []string{`of="client=10.0.0.0%2F29" set="scheduler=primary"`, "matched=8 changed=2 unchanged=1 not_relayed=2", "clear=scheduler", `of="all=true"`} {
		if !strings.Contains(log.String(), words) {
			t.Errorf("%q is not in the log:\n%s", words, log.String())
		}
	}
}

func TestChooseAllMistakes(t *testing.T) {
	g := &gateway{connections: some(10)}
	_, c := serve(t, g)
	primary := map[string]string{"scheduler": "primary"}
	for _, m := range []struct {
		name, query string
		change      OptionChange
		err         error // of the gateway
		status      int
		words       string
	}{
		{"nobody is named", "", OptionChange{Set: primary}, nil, 400, "of which connections?; want listener"},
		{"all and some", "all=true&user=u1", OptionChange{Set: primary}, nil, 400, "not both"},
		{"not all, and nobody", "all=false", OptionChange{Set: primary}, nil, 400, "of which connections?"},
		{"no limit", "all=true&limit=5", OptionChange{Set: primary}, nil, 400, `unknown parameter "limit"`},
		{"perhaps", "user=u1&dry_run=perhaps", OptionChange{Set: primary}, nil, 400, "want true or false"},
		{"everybody", "all=everybody", OptionChange{Set: primary}, nil, 400, "want true or false"},
		{"no prefix", "server=example.com", OptionChange{Set: primary}, nil, 400, `server: "example.com"`},
		{"nothing to change", "all=true", OptionChange{}, nil, 400, "no option is named"},
		{"bad value", "all=true", OptionChange{Set: map[string]string{"scheduler": "fast"}}, nil, 422, "no such scheduler"},
		{"stalls, counted only", "all=true&dry_run=true", OptionChange{Set: map[string]string{"subflow-rate-limit": "0"}}, nil, 422, "say which"},
		{"trouble", "all=true", OptionChange{Set: primary}, errors.New("trouble"), 500, "trouble"},
	} {
		t.Run(m.name, func(t *testing.T) {
			g.err = m.err
			err := second(ask[Changed](t.Context(), c, http.MethodPatch, "/v1/connections/options?"+m.query, m.change))
			if got := status(err); got != m.status || !strings.Contains(strings.ReplaceAll(fmt.Sprint(err), "\n", "; "), m.words) {
				t.Errorf("%v, want status %d and %q", err, m.status, m.words)
			}
		})
	}
}

// FuzzSelection: whatever the query, it is refused with a reason, or it names
// some connections or all of them.
func FuzzSelection(f *testing.F) {
	for _, query := range []string{"", "all=1", "all=true&dry_run=T", "all=true&user=a", "server=203.0.113.0/24&dry_run=true", "policy=gold"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, _, err := parseSelection(values)
		if err != nil {
			if status(err) != 400 || err.Error() == "" {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if all, _ := parseBool(values, "all"); all == (filter != Filter{}) {
			t.Errorf("%q: all is %t, and some are %+v", query, all, filter)
		}
	})
}

func TestNotInForce(t *testing.T) {
	set, err := options.ParseSet("scheduler=primary;user-timeout=1m")
	if err != nil {
		t.Fatal(err)
	}
	now := ConnectionOptions{Options: []ConnectionOption{
		{Option: "scheduler", Value: "default", Why: "unsupported", Detail: "no leg"}, {Option: "delayed-ack", Why: "unsupported"},
	}}
	if got, want := notInForce(&now, set), "scheduler is not in force: no leg; user-timeout is not in force"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
