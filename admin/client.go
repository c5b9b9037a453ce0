// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Client asks a running gateway. Errors of its methods are of type *Error where
// the gateway has answered, or where the hint can say what to do.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a client for the socket at a path.
func NewClient(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: time.Minute,
	}}}
}

// Close closes connections that are kept for later requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Connections visits the connections that a filter lets pass, each of which is
// the visitor's to keep, and reports whether the limit has left some out.
func (c *Client) Connections(ctx context.Context, f Filter, visit func(*Connection) error) (more bool, err error) {
	return visitAll(ctx, c, "/v1/connections", f.query(), visit)
}

// Explain asks what would happen to a connection.
func (c *Client) Explain(ctx context.Context, q Question) (Explanation, error) {
	return ask[Explanation](ctx, c, http.MethodGet, "/v1/explain?"+q.query().Encode(), nil)
}

// Kick ends a connection.
func (c *Client) Kick(ctx context.Context, id uint64) error {
	return c.request(ctx, http.MethodDelete, "/v1/connections/"+strconv.FormatUint(id, 10), nil, nil)
}

// Paths asks for the subflows of all connections.
func (c *Client) Paths(ctx context.Context) (PathList, error) {
	return ask[PathList](ctx, c, http.MethodGet, "/v1/paths", nil)
}

// PathEvents visits what happens to MPTCP connections, until ctx ends, the
// visitor returns an error, or the gateway stops. listening is called once
// nothing will be missed any more.
func (c *Client) PathEvents(ctx context.Context, listening func(), visit func(*PathEvent) error) error {
	return c.request(ctx, http.MethodGet, "/v1/paths/events", nil, func(body io.Reader) error {
		listening()
		for in := json.NewDecoder(body); ; {
			event := new(PathEvent)
			switch err := in.Decode(event); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			if err := visit(event); err != nil {
				return err
			}
		}
	})
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return ask[Reloaded](ctx, c, http.MethodPost, "/v1/reload", nil)
}

// LogLevel asks for the level that is logged.
func (c *Client) LogLevel(ctx context.Context) (string, error) {
	l, err := ask[LogLevel](ctx, c, http.MethodGet, "/v1/log-level", nil)
	return l.Level, err
}

// SetLogLevel changes the level until the next reload.
func (c *Client) SetLogLevel(ctx context.Context, level string) error {
	_, err := ask[LogLevel](ctx, c, http.MethodPut, "/v1/log-level", LogLevel{level})
	return err
}

// Drain has the gateway end when its connections have ended, or after a time;
// 0 is the configured one.
func (c *Client) Drain(ctx context.Context, timeout time.Duration) (Drain, error) {
	path := "/v1/drain"
	if timeout != 0 {
		path += "?" + url.Values{"timeout": {timeout.String()}}.Encode()
	}
	return ask[Drain](ctx, c, http.MethodPost, path, nil)
}

// Upgrade starts the program that is installed now in place of the one that
// runs.
func (c *Client) Upgrade(ctx context.Context) (Upgraded, error) {
	return ask[Upgraded](ctx, c, http.MethodPost, "/v1/upgrade", nil)
}

// Live returns an error unless everything that has to run does.
func (c *Client) Live(ctx context.Context) error {
	return c.request(ctx, http.MethodGet, "/livez", nil, nil)
}

// Ready returns an error unless new connections are served.
func (c *Client) Ready(ctx context.Context) error {
	return c.request(ctx, http.MethodGet, "/readyz", nil, nil)
}

// ask makes a request whose answer is one value.
func ask[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var value T
	err := c.request(ctx, method, path, body, func(r io.Reader) error {
		return json.NewDecoder(r).Decode(&value)
	})
	return value, err
}

// request makes a request and reads the answer if it is no error.
func (c *Client) request(ctx context.Context, method, path string, body any, read func(io.Reader) error) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://tandem"+path, in)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return c.explain(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		e := &Error{Status: answer.StatusCode}
		if err := json.NewDecoder(answer.Body).Decode(e); err != nil || e.Message == "" {
			e.Message = "unexpected answer: " + answer.Status
		}
		return e
	}
	if read == nil {
		return nil
	}
	if err := read(answer.Body); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.socket, err)
	}
	return nil
}

// explain says why nobody has answered.
func (c *Client) explain(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // without the address, which is not the real one
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return &Error{Message: "nobody answers at " + c.socket,
			Hint: "is tandem running? If admin.socket of its configuration is another one, give that with --socket"}
	case errors.Is(err, fs.ErrPermission):
		return &Error{Message: "not allowed to use " + c.socket,
			Hint: "try as root, or as a member of the group that admin.group of the configuration names"}
	}
	return err
}
