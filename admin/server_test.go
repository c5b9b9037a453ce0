// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
		{"GET", "/v1/connections?host=x", "", 400, "want one of listener, client, server, user, policy, token, limit"},
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
