// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type paths []Paths

func (p paths) Paths() ([]Paths, error) { return p, nil }

// PathEvents yields an event for each connection, and then waits.
func (p paths) PathEvents(ctx context.Context) (iter.Seq[PathEvent], error) {
	return func(yield func(PathEvent) bool) {
		for _, c := range p {
			if !yield(PathEvent{Event: "opened", Token: c.Token, Subflow: &c.Subflows[0]}) {
				return
			}
		}
		<-ctx.Done()
	}, nil
}

func TestPathEvents(t *testing.T) {
	known := paths{{Token: 1, Subflows: []Subflow{{State: "established"}}}, {Token: 2, Subflows: []Subflow{{State: "established"}}}}
	for name, end := range map[string]func(*Server, context.CancelFunc) error{
		"reader": func(_ *Server, cancel context.CancelFunc) error { cancel(); return context.Canceled },
		"server": func(s *Server, _ context.CancelFunc) error { return s.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, &gateway{}, func(o *Options) { o.Paths = known })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var want error
			listening, seen := false, 0
			err := c.PathEvents(ctx, func() { listening = true }, func(e *PathEvent) error {
				if seen++; e.Token != Token(seen) || e.Event != "opened" || e.Subflow.State != "established" || !listening {
					t.Errorf("event %d: %+v", seen, e)
				}
				if seen == len(known) {
					want = end(s, cancel)
				}
				return nil
			})
			if seen != len(known) || !errors.Is(err, want) {
				t.Errorf("%d events, %v; want %v", seen, err, want)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	want := PathList{Connections: []Paths{{Token: 0xbeef, Manager: "fullmesh", Subflows: []Subflow{
		{Local: netip.MustParseAddrPort("192.0.2.1:5000"), Remote: netip.MustParseAddrPort("203.0.113.1:8803"), State: "established", RTT: 0.02, Sent: 5},
	}, Past: []Subflow{}}, {Token: 0xcafe, Manager: "kernel", Subflows: []Subflow{}, Past: []Subflow{}}}}
	_, c := serve(t, &gateway{}, func(o *Options) { o.Paths = paths(want.Connections) })
	got, err := c.Paths(t.Context())
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestTokens(t *testing.T) {
	for text, want := range map[string]Token{"0000beef": 0xbeef, "beef": 0xbeef, "0xBEEF": 0xbeef, "ffffffff": 0xffffffff} {
		var got Token
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0x", "100000000", "-1", "xyz"} {
		if err := new(Token).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a token", text)
		}
	}
	b, err := json.Marshal(Leg{Token: 0xbeef})
	if err != nil || !strings.Contains(string(b), `"token":"0000beef"`) {
		t.Errorf("%s, %v", b, err)
	}
}
