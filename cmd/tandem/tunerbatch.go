// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/tandem-gateway/tandem/bpf"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/options/tuning"
)

// change is a set that waits to be put into force.
type change struct {
	token uint32
	set   options.Set
	done  func(failed []options.Reason)
}

// applyLater collects changes until the goroutine gets to them: with thousands of
// connections a walk through the sockets for each one would take minutes.
func (t *tuner) applyLater(c change) {
	t.mu.Lock()
	t.changes = append(t.changes, c)
	first := len(t.changes) == 1
	t.mu.Unlock()
	if first {
		t.later(t.applyAll)
	}
}

func (t *tuner) applyAll() {
	t.mu.Lock()
	list := t.changes
	t.changes = nil
	t.mu.Unlock()
	for len(list) > 0 {
		n := different(list)
		t.applyBatch(list[:n])
		list = list[n:]
	}
}

// different is how many changes there are before one of a connection that is
// changed already.
func different(list []change) int {
	seen := make(map[uint32]bool, len(list))
	for i, c := range list {
		if seen[c.token] {
			return i
		}
		seen[c.token] = true
	}
	return len(list)
}

// applyBatch puts changes of different connections into force.
func (t *tuner) applyBatch(list []change) {
	policies := make(map[uint32]*bpf.Policy, len(list))
	for _, c := range list {
		policies[c.token] = nil // takes back what was in force
		if !c.set.Empty() {
			p := tuning.PolicyOf(c.set)
			policies[c.token] = &p
		}
	}
	failed := t.steering.SetAll(policies)
	for _, c := range list {
		c.done(t.applied(c.token, c.set, failed[c.token]))
	}
}
