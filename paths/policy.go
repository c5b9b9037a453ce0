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
}

func (p Policy) withDefaults() Policy {
	if p.Manager == nil {
		p.Manager = Default{}
	}
	p.MaxSubflows = cmp.Or(p.MaxSubflows, DefaultMaxSubflows)
	p.OpensPerSecond = cmp.Or(p.OpensPerSecond, DefaultOpensPerSecond)
	p.Keep = max(cmp.Or(p.Keep, DefaultKeep), 0)
	return p
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
