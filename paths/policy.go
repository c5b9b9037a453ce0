// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Defaults of Policy and Options.
const (
	DefaultMaxSubflows    = 8
	DefaultOpensPerSecond = 10
	DefaultKeep           = time.Minute
	DefaultAllOpens       = 500 // per second
	DefaultStallAfter     = 15 * time.Second
)

// Policy is what applies to a connection, from Adopt on. It must not be changed
// afterwards.
type Policy struct {
	// Manager decides; nil is Default.
	Manager Manager
	// Name is what Snapshot calls it.
	Name string
	// MaxSubflows limits how many a connection has or waits for, opened by
	// either end; 0 is DefaultMaxSubflows. What a peer opens beyond it is closed.
	MaxSubflows int
	// OpensPerSecond limits how often subflows of one connection are opened, by
	// this end and, separately, by the peer; 0 is DefaultOpensPerSecond. Ours
	// wait, those of the peer are closed. A second's worth may come at once.
	OpensPerSecond float64
	// RefuseJoins are sources from which the peer may open no more subflows.
	RefuseJoins []netip.Prefix
	// Interfaces that subflows may be opened from; none is all.
	Interfaces []string
	// BackupInterfaces are those whose subflows carry data only while there is
	// no other.
	BackupInterfaces []string
	// Keep is how long a connection without any subflow is kept; 0 is
	// DefaultKeep. Less than 0 is not at all.
	Keep time.Duration

	complete bool // has the defaults where nothing else is wanted
}

// WithDefaults is p with the defaults where it is zero. Adopt sees to that by
// itself; for a policy of many connections it has less to do if it was done
// before.
func (p *Policy) WithDefaults() *Policy {
	if p.complete {
		return p
	}
	full := *p
	if full.Manager == nil {
		full.Manager = Default{}
	}
	full.MaxSubflows = cmp.Or(full.MaxSubflows, DefaultMaxSubflows)
	full.OpensPerSecond = cmp.Or(full.OpensPerSecond, DefaultOpensPerSecond)
	full.Keep = max(cmp.Or(full.Keep, DefaultKeep), 0)
	full.complete = true
	return &full
}

func (p *Policy) refuses(from netip.Addr) bool {
	return slices.ContainsFunc(p.RefuseJoins, func(r netip.Prefix) bool { return r.Contains(from) })
}

func (p *Policy) uses(device string) bool {
	return len(p.Interfaces) == 0 || slices.Contains(p.Interfaces, device)
}

// passive reports whether no event leads to an action.
func (p *Policy) passive() bool {
	_, is := p.Manager.(Default)
	return is
}
