// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"layeh.com/radius"

	"github.com/tandem-gateway/tandem/subscribers"
)

// Server is a RADIUS server, for authentication or for accounting.
type Server struct {
	Address string // host:port
	Secret  []byte
}

// Patience is how long servers are waited for. The zero value has the defaults.
type Patience struct {
	Timeout time.Duration // for an answer, before the request is sent again; 0 is DefaultTimeout
	Tries   int           // with one server; 0 is DefaultTries
	// Dead is how long a server that did not answer is left alone while there
	// is another; 0 is DefaultDead.
	Dead time.Duration
}

// Defaults of Patience.
const (
	DefaultTimeout = 2 * time.Second
	DefaultTries   = 3
	DefaultDead    = 20 * time.Second
)

func (p Patience) withDefaults() Patience {
	if p.Timeout == 0 {
		p.Timeout = DefaultTimeout
	}
	if p.Tries == 0 {
		p.Tries = DefaultTries
	}
	if p.Dead == 0 {
		p.Dead = DefaultDead
	}
	return p
}

// atOnce bounds the requests that are under way with all servers together. Each
// has a socket of its own, so that there is no lack of identifiers.
const atOnce = 64

// group is some servers of which any can answer, in the order of preference.
type group struct {
	servers  []*member
	patience Patience
	log      *slog.Logger
	slots    chan struct{}
}

type member struct {
	Server
	dead atomic.Int64 // until when it is left alone, ns since 1970
}

func newGroup(servers []Server, p Patience, log *slog.Logger) *group {
	g := &group{patience: p.withDefaults(), log: log, slots: make(chan struct{}, atOnce)}
	for _, s := range servers {
		g.servers = append(g.servers, &member{Server: s})
	}
	return g
}

// exchange sends a request to the first server that answers it. Build makes the
// request for a server's secret; check says whether an answer is one. The error
// wraps subscribers.ErrAway.
func (g *group) exchange(ctx context.Context, build func(secret []byte) (*radius.Packet, error), check func(request, answer *radius.Packet) error) (*radius.Packet, error) {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	failures := []error{subscribers.ErrAway}
	for _, m := range g.order() {
		answer, err := g.ask(ctx, m, build, check)
		if err == nil {
			if m.dead.Swap(0) != 0 {
				g.log.Info("a RADIUS server answers again", "server", m.Address)
			}
			return answer, nil
		}
		if ctx.Err() != nil || errors.Is(err, subscribers.ErrRejected) {
			return nil, err // nothing was asked
		}
		if m.dead.Swap(time.Now().Add(g.patience.Dead).UnixNano()) == 0 {
			g.log.Warn("a RADIUS server does not answer", "server", m.Address, "err", err)
		}
		failures = append(failures, fmt.Errorf("%s: %w", m.Address, err))
	}
	return nil, errors.Join(failures...)
}

// order is the servers that are not left alone, or if that leaves none, the one
// whose time is over first.
func (g *group) order() []*member {
	now := time.Now().UnixNano()
	var alive []*member
	first := g.servers[0]
	for _, m := range g.servers {
		until := m.dead.Load()
		if until <= now {
			alive = append(alive, m)
		}
		if until < first.dead.Load() {
			first = m
		}
	}
	if len(alive) == 0 {
		return []*member{first}
	}
	return alive
}

// ask sends a request to one server, again where there is no answer: the same
// packet, for which the server has the same answer (RFC 5080 section 2.2.2).
func (g *group) ask(ctx context.Context, m *member, build func([]byte) (*radius.Packet, error), check func(request, answer *radius.Packet) error) (*radius.Packet, error) {
	request, err := build(m.Secret)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.patience.Tries)*g.patience.Timeout)
	defer cancel()
	// Without a bound on bad packets the client waits for a good one.
	client := radius.Client{Retry: g.patience.Timeout}
	answer, err := client.Exchange(ctx, request, m.Address)
	if err != nil {
		return nil, err
	}
	if answer.Identifier != request.Identifier {
		return nil, ErrForged
	}
	return answer, check(request, answer)
}
