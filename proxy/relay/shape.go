// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"time"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// Shaper says how fast pairs may go. It is asked on event loops and must not
// block. What has moved it hears from the owner of a pair, see Owner.Moved.
type Shaper interface {
	// Allow returns how many bytes may be read from an end at a moment; or 0,
	// and how long to wait before asking again.
	Allow(end int, now time.Time) (bytes int, wait time.Duration)
}

// shaping is what a pair needs that is not to be as fast as it can.
type shaping struct {
	shaper Shaper
	timer  event.Timer
	until  time.Time // when the timer fires; zero: it is not armed
}

// Shape holds a pair to what a Shaper says. It is to be called before Start.
func (p *Pair) Shape(s Shaper) {
	p.shaping = &shaping{shaper: s}
	p.shaping.timer.Func = func() {
		p.shaping.until = time.Time{}
		p.Ready(nil)
	}
}

// budget is how many bytes a direction may read in a turn.
func (p *Pair) budget(end int, now time.Time) int {
	if p.shaping == nil {
		return turn
	}
	n, _ := p.shaping.shaper.Allow(end, now)
	return min(n, turn)
}

// yield gives others a turn, and waits until an end may be read from again.
func (p *Pair) yield(end int, now time.Time) {
	s := p.shaping
	if s == nil {
		p.loop.Again(&p.Ends[end])
		return
	}
	n, wait := s.shaper.Allow(end, now)
	if n > 0 {
		p.loop.Again(&p.Ends[end])
		return
	}
	p.dirs[end].rest(p.pool)
	if until := now.Add(wait); s.until.IsZero() || until.Before(s.until) {
		s.until = until
		p.loop.Arm(&s.timer, until)
	}
}

// unshape ends the wait.
func (p *Pair) unshape() {
	if p.shaping != nil {
		p.loop.Disarm(&p.shaping.timer)
	}
}
