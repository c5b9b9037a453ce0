// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"iter"
	"time"

	"github.com/tandem-gateway/tandem/options"
)

// Gateway is what a Server answers for. Its methods may be called at the same
// time.
type Gateway interface {
	Status() Status
	// Connections yields those that have not ended; each is valid until the
	// next.
	Connections() iter.Seq[*Connection]
	// Subscribers yields those that have a session; each is valid until the next.
	Subscribers() iter.Seq[*Subscriber]
	// Explain says what would happen to a connection. The error says what is
	// wrong with the question.
	Explain(ctx context.Context, q Question) (Explanation, error)
	// Kick ends a connection and reports whether there was one.
	Kick(id uint64) bool
	// Choose has an operator choose options of connections, or take back what he
	// chose, and returns what became of each, in no particular order; many at once
	// cost little more than one. The error may be options.ErrRange.
	Choose(ctx context.Context, ids []uint64, set options.Set, clear []options.Option) ([]Chosen, error)
	// Reload reads the configuration again. On an error the one from before
	// stays in force.
	Reload() (Reloaded, error)
	// Upgrade starts a successor, which serves new connections from then on. On
	// an error nothing changes.
	Upgrade() (Upgraded, error)
	LogLevel() string
	// SetLogLevel changes the level until the next reload.
	SetLogLevel(level string) error
	// Drain stops to accept and ends the process when all connections have
	// ended, or after a time. Zero is the configured one.
	Drain(timeout time.Duration) Drain
	// Alive returns an error unless everything that has to run does.
	Alive(ctx context.Context) error
	// Ready returns an error unless new connections are served.
	Ready() error
}

// PathSource knows the subflows of MPTCP connections.
type PathSource interface {
	// Paths returns the connections of this process with their subflows.
	Paths() ([]Paths, error)
	// PathEvents yields what happens to them until ctx ends.
	PathEvents(ctx context.Context) (iter.Seq[PathEvent], error)
}
