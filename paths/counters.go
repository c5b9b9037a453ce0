// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"maps"

	"golang.org/x/sys/unix"
)

// Counters are what an engine has seen and done since New.
type Counters struct {
	// Connections are those known now, Adopted of them are managed, and
	// Subflowless of those are without any subflow.
	Connections, Adopted, Subflowless int

	Events         uint64 // taken
	Gaps           uint64 // times that events were lost
	LostEvents     uint64 // as far as that is known
	Repairs        uint64 // times that the kernel was asked for all subflows
	Repaired       uint64 // subflows about which the kernel said something else
	NetworkChanges uint64 // times that addresses and routes were asked for

	Opened  map[Cause]uint64      // subflows, by why
	Failed  map[Cause]uint64      // attempts, by how
	Closed  map[Cause]uint64      // subflows that were established, by why
	Healed  map[Cause]uint64      // of Opened, those that restore one that was lost, by how that was
	Refused map[unix.Errno]uint64 // commands to the kernel, by its answer

	OverLimit uint64 // openings that were not made because of Policy.MaxSubflows
	Delayed   uint64 // times that openings had to wait for a limit per second
	Announced uint64 // addresses
	Expired   uint64 // connections
}

// tally counts subflows by cause.
type tally [causes]uint64

// tallies are those of Counters.
type tallies struct{ opened, failed, closed, healed tally }

// byCause has the causes that there were.
func (t *tally) byCause() map[Cause]uint64 {
	counts := make(map[Cause]uint64)
	for cause, n := range t {
		if n > 0 {
			counts[Cause(cause)] = n
		}
	}
	return counts
}

// Counters returns a copy. It waits for the engine; after Close all are zero.
func (e *Engine) Counters() Counters {
	var n Counters
	e.ask(func() {
		n = e.counters
		n.Opened, n.Failed = e.tallies.opened.byCause(), e.tallies.failed.byCause()
		n.Closed, n.Healed = e.tallies.closed.byCause(), e.tallies.healed.byCause()
		n.Refused = maps.Clone(n.Refused)
		n.Connections = len(e.conns)
		for _, c := range e.conns {
			if c.adopted {
				n.Adopted++
				if !c.lost.IsZero() {
					n.Subflowless++
				}
			}
		}
	})
	return n
}
