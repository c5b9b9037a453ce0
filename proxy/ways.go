// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"time"
)

// Way is one of those that an Upstream may lead, for Explain.
type Way struct {
	Hop string
	Up  bool   // sessions are led there
	Why string // it is where it is in the order, or is not used
}

// waysOf returns the ways for a request, best first, with those that are not
// used.
func waysOf(u Upstream, r *Request) []Way {
	if e, ok := u.(interface{ ways(*Request) []Way }); ok {
		return e.ways(r)
	}
	var ways []Way
	for _, h := range u.Hops(r) {
		ways = append(ways, Way{Hop: h.Name(), Up: true})
	}
	return ways
}

func (d *Direct) ways(*Request) []Way { return []Way{{d.name, true, "direct"}} }

func (p *Pool) ways(*Request) []Way {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ways []Way
	for _, m := range p.members {
		state := "up"
		if !m.health.up {
			state = "down"
		}
		w := Way{m.Name(), m.health.up, fmt.Sprintf("%s for %v", state, time.Since(m.health.since).Round(time.Second))}
		if !w.Up && m.err != nil {
			w.Why += ": " + m.err.Error()
		}
		ways = append(ways, w)
	}
	if p.o.Last != nil {
		ways = append(ways, Way{p.o.Last.Name(), true, "when-down: direct"})
	}
	return ways
}

func (b *Bypass) ways(r *Request) []Way {
	ways := waysOf(b.upstream, r)
	if hops := b.Hops(r); len(hops) > 0 && hops[0] == b.direct {
		return append([]Way{{b.direct.Name(), true, "convert.bypass-mptcp-servers: the server was seen to speak MPTCP"}}, ways...)
	}
	return ways
}

func (r *Redundant) ways(req *Request) []Way {
	ways := waysOf(r.upstream, req)
	hops := r.Hops(req)
	if len(hops) == 0 {
		return ways
	}
	h, ok := hops[0].(*redundantHop)
	if !ok {
		return ways
	}
	first := Way{h.Name(), true, "convert.redundant: every byte on all paths"}
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Now().Before(h.plain) {
		first.Up, first.Why = false, fmt.Sprintf("left alone until %s: %v", h.plain.Format(time.TimeOnly), h.reason)
	}
	return append([]Way{first}, ways...)
}
