// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"time"

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
	t.gather()
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

// gather lets others come that share the walk, where changes follow each other: it
// costs the same for any number.
func (t *tuner) gather() {
	if time.Since(t.walked) < t.walkTook {
		time.Sleep(t.walkTook / 2)
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
	start := time.Now()
	defer func() { t.walked, t.walkTook = time.Now(), time.Since(start) }()
	policies := make(map[uint32]*bpf.Policy, len(list))
	for _, c := range list {
		policies[c.token] = nil // takes back what was in force
		if !c.set.Empty() {
			p := tuning.PolicyOf(c.set)
			policies[c.token] = &p
		}
	}
	failed := t.steering.Load().SetAll(policies)
	unknown := t.delayACKs(list, policies, failed)
	for _, c := range list {
		reasons := t.applied(c.token, c.set, failed[c.token])
		if unknown[c.token] {
			reasons = append(reasons, options.Reason{Option: options.DelayedACK, Err: errSegmentsToo})
		}
		c.done(reasons)
	}
}

// delayACKs adds what is asked for as a share of the RTT, which is known of
// connections that are steered, and tells of which it is not.
func (t *tuner) delayACKs(list []change, policies map[uint32]*bpf.Policy, failed map[uint32]error) (unknown map[uint32]bool) {
	unknown = make(map[uint32]bool)
	delayed := make(map[uint32]*bpf.Policy)
	for _, c := range list {
		v, ok := c.set.Value(options.DelayedACK)
		if !ok || failed[c.token] != nil {
			continue
		}
		state, err := t.steering.Load().State(c.token)
		switch {
		case err != nil:
			failed[c.token] = err
		case state[0].MinRTT == 0:
			unknown[c.token] = true
		default:
			delayed[c.token] = policies[c.token]
			tuning.DelayACK(delayed[c.token], v, state[0].MinRTT)
		}
	}
	if len(delayed) > 0 {
		maps.Copy(failed, t.steering.Load().SetAll(delayed))
	}
	return unknown
}

// answerLater collects answers to requests in TCP options, as many as there is
// room for: peers ask again.
func (t *tuner) answerLater(r bpf.Reply) {
	t.mu.Lock()
	room := len(t.replies) < maxSpare
	if room {
		t.replies = append(t.replies, r)
	} else {
		t.dropped++
	}
	first := len(t.replies) == 1
	t.mu.Unlock()
	if room && first {
		t.later(t.answerAll)
	}
}

func (t *tuner) answerAll() {
	t.mu.Lock()
	list := t.replies
	t.replies = nil
	t.mu.Unlock()
	if err := t.steering.Load().Answer(list...); err != nil {
		t.log.Debug("requests in TCP options were not answered", "err", err)
	}
}
