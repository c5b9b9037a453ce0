// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/options"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway holds what it answers. The real one is tested in cmd/tandem.
type gateway struct {
	connections []Connection
	yielded     atomic.Int64
	level       string
	drained     time.Duration
	reloaded    Reloaded
	err         error // of everything that may fail
	cleared     []options.Option
	held        chan struct{}
	asked       Question
	subscribers []Subscriber
}

func (g *gateway) Status() Status {
	if g.held != nil {
		<-g.held
	}
	return Status{Version: "test", State: Running}
}

func (g *gateway) Connections() iter.Seq[*Connection] {
	return func(yield func(*Connection) bool) {
		for i := range g.connections {
			g.yielded.Add(1)
			c := g.connections[i]
			if !yield(&c) {
				return
			}
		}
	}
}

func (g *gateway) Kick(id uint64) bool {
	n := len(g.connections)
	g.connections = slices.DeleteFunc(g.connections, func(c Connection) bool { return c.ID == id })
	return len(g.connections) < n
}

func (g *gateway) Subscribers() iter.Seq[*Subscriber] {
	return func(yield func(*Subscriber) bool) {
		for i := range g.subscribers {
			if s := g.subscribers[i]; !yield(&s) {
				return
			}
		}
	}
}

func (g *gateway) Explain(_ context.Context, q Question) (Explanation, error) {
	g.asked = q
	return Explanation{Source: q.Source, Destination: q.Destination, Listeners: []Verdict{{Listener: q.Listener, Outcome: Served}}}, g.err
}

// Choose does what it is told, as if nobody else had chosen anything.
func (g *gateway) Choose(_ context.Context, id uint64, set options.Set, clear []options.Option) (ConnectionOptions, error) {
	if id > 7 {
		return ConnectionOptions{}, ErrNoConnection
	}
	if g.err != nil {
		return ConnectionOptions{}, g.err
	}
	g.cleared = clear
	return *OptionsOf(&options.Grants{List: []options.Grant{{Option: options.Scheduler, Granted: 1 << 16, From: options.FromOperator, Why: options.AsAsked}, {Option: options.UserTimeout, ByClient: true, Asked: 60, Why: options.Unsupported, Detail: set.String()}}}), nil
}

func (g *gateway) Reload() (Reloaded, error) { return g.reloaded, g.err }
func (g *gateway) Upgrade() (Upgraded, error) {
	return Upgraded{PID: 2, Draining: 1, Active: 3}, g.err
}
func (g *gateway) LogLevel() string { return g.level }
func (g *gateway) SetLogLevel(l string) error {
	if g.err == nil {
		g.level = l
	}
	return g.err
}
func (g *gateway) Drain(d time.Duration) Drain { g.drained = d; return Drain{Active: 7} }
func (g *gateway) Alive(context.Context) error { return g.err }
func (g *gateway) Ready() error                { return g.err }

// serve answers for a gateway until the end of the test.
func serve(t *testing.T, g Gateway, with ...func(*Options)) (*Server, *Client) {
	t.Helper()
	o := Options{Gateway: g, Log: slog.New(slog.DiscardHandler)}
	for _, f := range with {
		f(&o)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s, c := NewServer(o), NewClient(path)
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	return s, c
}

const patience = 5 * time.Second

// some are n connections with addresses, users and tokens that differ.
func some(n int) []Connection {
	all := make([]Connection, n)
	for i := range all {
		idle := float64(i)
		all[i] = Connection{
			ID: uint64(i + 1), Phase: "relaying", Listener: fmt.Sprintf("l%d", i%3), User: fmt.Sprintf("u%d", i%5),
			Client: Leg{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5000), MPTCP: true, Token: Token(i + 1)},
			Server: &Leg{Address: netip.MustParseAddrPort("203.0.113.80:443"), Reason: "not_asked"},
			Hop:    "direct", Started: time.Unix(int64(i), 0).UTC(), Age: 1.5, Idle: &idle, Up: uint64(i), Down: 1 << 50,
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

func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestRequests(t *testing.T) {
	g := &gateway{connections: some(3), level: "info", reloaded: Reloaded{Listeners: 2, Upstreams: 1, Warnings: []string{"odd"}}}
	_, c := serve(t, g)
	ctx := t.Context()
	if s, err := c.Status(ctx); err != nil || s.Version != "test" {
		t.Errorf("status: %+v, %v", s, err)
	}
	if err := c.Kick(ctx, 2); err != nil {
		t.Error(err)
	}
	if err := c.Kick(ctx, 2); status(err) != http.StatusNotFound {
		t.Errorf("kicked again: %v", err)
	}
	if r, err := c.Reload(ctx); err != nil || !cmp.Equal(r, g.reloaded) {
		t.Errorf("reload: %+v, %v", r, err)
	}
	if err := c.SetLogLevel(ctx, "debug"); err != nil {
		t.Error(err)
	}
	if l, err := c.LogLevel(ctx); err != nil || l != "debug" {
		t.Errorf("log level %q, %v", l, err)
	}
	if d, err := c.Drain(ctx, 90*time.Second); err != nil || d.Active != 7 || g.drained != 90*time.Second {
		t.Errorf("drain: %+v, %v, %v", d, g.drained, err)
	}
	if _, err := c.Drain(ctx, 0); err != nil || g.drained != 0 {
		t.Errorf("drain without a time: %v, %v", g.drained, err)
	}
	if err := errors.Join(c.Live(ctx), c.Ready(ctx)); err != nil {
		t.Error(err)
	}
	if _, err := c.Paths(ctx); status(err) != http.StatusNotImplemented {
		t.Errorf("paths: %v", err)
	}
	g.err = errors.New("line 1\nline 2")
	for name, test := range map[string]struct {
		err    error
		status int
	}{
		"reload":    {second(c.Reload(ctx)), http.StatusUnprocessableEntity},
		"log level": {c.SetLogLevel(ctx, "loud"), http.StatusUnprocessableEntity},
		"livez":     {c.Live(ctx), http.StatusServiceUnavailable},
		"readyz":    {c.Ready(ctx), http.StatusServiceUnavailable},
	} {
		if status(test.err) != test.status || !strings.HasPrefix(test.err.Error(), "line 1\nline 2") {
			t.Errorf("%s: %v", name, test.err)
		}
	}
	g.err = fmt.Errorf("too late: %w", ErrDraining)
	if _, err := c.Reload(ctx); status(err) != http.StatusConflict {
		t.Errorf("reload while draining: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// status is that of the answer that an error is made of.
func status(err error) int {
	var e *Error
	errors.As(err, &e)
	if e == nil {
		return 0
	}
	return e.Status
}

func TestBadRequests(t *testing.T) {
	_, c := serve(t, &gateway{level: "info"})
	for _, test := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v2/status", "", 404, "/v1/openapi.json"},
		{"GET", "/", "", 404, "openapi"},
		{"POST", "/v1/status", "", 405, "want GET"},
		{"GET", "/v1/connections/7", "", 405, "want DELETE"},
		{"PATCH", "/v1/log-level", "", 405, "want GET or PUT"},
		{"GET", "/v1/status?pretty=1", "", 400, "want none"},
		{"GET", "/v1/connections?host=x", "", 400, "want one of listener, client, user, token, limit"},
		{"GET", "/v1/connections?client=10.0.0.0/33", "", 400, "client"},
		{"GET", "/v1/connections?token=xyz", "", 400, "eight hexadecimal digits"},
		{"GET", "/v1/connections?limit=-1", "", 400, "limit"},
		{"DELETE", "/v1/connections/seven", "", 400, "number"},
		{"DELETE", "/v1/connections/-7", "", 400, "number"},
		{"DELETE", "/v1/connections/99999999999999999999", "", 400, "number"},
		{"PUT", "/v1/log-level", "debug", 400, "bad JSON"},
		{"PUT", "/v1/log-level", `{"lvl":"debug"}`, 400, "unknown field"},
		{"PUT", "/v1/log-level", `{"level":"` + strings.Repeat("x", maxBody) + `"}`, 400, "too large"},
		{"POST", "/v1/drain?timeout=5", "", 400, "duration with a unit"},
		{"POST", "/v1/drain?timeout=-5s", "", 400, "duration with a unit"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://tandem"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var e Error
		err = json.NewDecoder(answer.Body).Decode(&e)
		answer.Body.Close()
		if err != nil || answer.StatusCode != test.status || e.Message == "" || !strings.Contains(e.Error(), test.says) ||
			answer.Header.Get("Content-Type") != jsonType {
			t.Errorf("%s %s: status %d, %v, %+v", test.method, test.path, answer.StatusCode, err, e)
		}
	}
}

func TestChangesAreLogged(t *testing.T) {
	var log bytes.Buffer
	_, c := serve(t, &gateway{level: "info"}, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("a request that changes nothing was logged: %s", &log)
	}
	if err := c.Kick(t.Context(), 5); err == nil {
		t.Error("there was something to kick")
	}
	for _, word := range []string{`request="DELETE /v1/connections/5"`, "uid=", "pid=", "there is no connection 5"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("%s is not in the log: %s", word, &log)
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	g := &gateway{held: make(chan struct{})}
	s, c := serve(t, g)
	var waiting sync.WaitGroup
	for range maxBusy {
		waiting.Go(func() {
			if _, err := c.Status(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "all to be busy", func() bool { return len(s.busy) == maxBusy })
	if err := c.Live(t.Context()); status(err) != http.StatusServiceUnavailable {
		t.Errorf("one too many: %v", err)
	}
	close(g.held)
	waiting.Wait()
	if err := c.Live(t.Context()); err != nil {
		t.Error(err)
	}
}

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
