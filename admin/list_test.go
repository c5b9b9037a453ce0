// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// some are n connections with addresses, users and tokens that differ.
func some(n int) []Connection {
	all := make([]Connection, n)
	for i := range all {
		idle := float64(i)
		all[i] = Connection{
			ID: uint64(i + 1), Phase: "relaying", Listener: fmt.Sprintf("l%d", i%3), User: fmt.Sprintf("u%d", i%5),
			Client: Leg{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5000), MPTCP: true, Token: Token(i + 1)},
			Server: &Leg{Address: netip.MustParseAddrPort("203.0.113.80:443"), Reason: "not_asked"},
			Policy: []string{"gold", "default", ""}[i%3], Hop: "direct", Started: time.Unix(int64(i), 0).UTC(), Age: 1.5, Idle: &idle, Up: uint64(i), Down: 1 << 50,
		}
	}
	return all
}

func collect(t *testing.T, c *Client, f Filter) ([]Connection, bool) {
	t.Helper()
	var got []Connection
	more, err := c.Connections(t.Context(), f, func(c *Connection) error {
		got = append(got, *c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, more
}

func TestConnections(t *testing.T) {
	all := some(1000)
	_, c := serve(t, &gateway{connections: all})
	for _, test := range []struct {
		name   string
		filter Filter
		want   func(*Connection) bool
	}{
		{"all", Filter{}, func(*Connection) bool { return true }},
		{"listener", Filter{Listener: "l1"}, func(c *Connection) bool { return c.Listener == "l1" }},
		{"user", Filter{User: "u4"}, func(c *Connection) bool { return c.User == "u4" }},
		{"prefix", Filter{Client: netip.MustParsePrefix("10.0.1.0/24")}, func(c *Connection) bool { return c.ID > 256 && c.ID <= 512 }},
		{"address", Filter{Client: netip.MustParsePrefix("10.0.0.9/32")}, func(c *Connection) bool { return c.ID == 10 }},
		{"token", Filter{Token: 77}, func(c *Connection) bool { return c.ID == 77 }},
		{"two of them", Filter{Listener: "l1", User: "u4"}, func(c *Connection) bool { return c.Listener == "l1" && c.User == "u4" }},
		{"server", Filter{Server: netip.MustParsePrefix("203.0.113.0/24"), Token: 3}, func(c *Connection) bool { return c.ID == 3 }},
		{"another server", Filter{Server: netip.MustParsePrefix("203.0.113.81/32")}, func(*Connection) bool { return false }},
		{"policy", Filter{Policy: "gold"}, func(c *Connection) bool { return c.Policy == "gold" }},
		{"none", Filter{Listener: "other"}, func(*Connection) bool { return false }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want []Connection
			for i := range all {
				if test.want(&all[i]) {
					want = append(want, all[i])
				}
			}
			got, more := collect(t, c, test.filter)
			if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" || more {
				t.Errorf("more: %t (-want +got):\n%s", more, d)
			}
		})
	}
}

func TestConnectionsUpToALimit(t *testing.T) {
	g := &gateway{connections: some(1000)}
	_, c := serve(t, g)
	for _, test := range []struct {
		limit, want int
		more        bool
	}{{1, 1, true}, {999, 999, true}, {1000, 1000, false}, {1001, 1000, false}} {
		g.yielded.Store(0)
		got, more := collect(t, c, Filter{Limit: test.limit})
		if len(got) != test.want || more != test.more {
			t.Errorf("limit %d: %d connections, more: %t", test.limit, len(got), more)
		}
		if n := g.yielded.Load(); n > int64(test.limit)+1 {
			t.Errorf("limit %d: %d connections were looked at", test.limit, n)
		}
	}
}

// A reader that stops reading stops the walk, and the end of the request ends it.
func TestConnectionsDoNotPileUp(t *testing.T) {
	g := &gateway{connections: some(100_000)}
	s, c := serve(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tandem/v1/connections", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.ReadFull(answer.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	cancel()
	await(t, "the request to end", func() bool { return len(s.busy) == 0 })
	if n := g.yielded.Load(); n > 50_000 {
		t.Errorf("%d connections were looked at for one that reads 100 bytes", n)
	}
}
