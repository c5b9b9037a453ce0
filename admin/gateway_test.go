// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// Choose does what it is told, as if nobody else had chosen anything. Those with
// even IDs cannot do what they are asked, every eighth has just ended, and those
// after it have nothing to take back.
func (g *gateway) Choose(_ context.Context, ids []uint64, set options.Set, clear []options.Option) ([]Chosen, error) {
	if g.err != nil {
		return nil, g.err
	}
	g.cleared = clear
	var all []Chosen
	for _, id := range ids {
		one := Chosen{ID: id}
		scheduler := options.Grant{Option: options.Scheduler, Granted: 1 << 16, From: options.FromOperator, Why: options.AsAsked}
		switch {
		case id%8 == 0:
			one.Err = ErrNoConnection
		case id == notRelayed:
			one.Err = ErrNotRelayed
		case id%8 == 1:
			one.Unchanged = true
		case id%2 == 0:
			scheduler.Why, scheduler.Detail = options.Unsupported, fmt.Sprintf("reason %d", id)
		}
		one.Options = *OptionsOf(&options.Grants{List: []options.Grant{scheduler, {Option: options.UserTimeout, ByClient: true, Asked: 60, Why: options.Unsupported, Detail: set.String()}}})
		all = append(all, one)
	}
	return all, nil
}

// notRelayed is the ID of a connection that is not relayed.
const notRelayed = 5

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

const patience = 30 * time.Second

func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
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
