// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/event"
)

// The two ends of a pair.
const (
	Client = 0
	Server = 1
)

// Reasons for which a pair ends other than both streams having ended.
var (
	ErrIdle       = errors.New("idle for too long")
	ErrHalfClosed = errors.New("half-closed and idle for too long")
)

// Timeouts of a pair. Zero means none.
type Timeouts struct {
	// Idle is how long a pair may live without a byte or an end of stream
	// arriving or being delivered on either side. TCP keep-alives do not
	// count.
	Idle time.Duration
	// HalfClosed is the same from the moment that the end of one side's
	// stream was passed on. It has no effect unless shorter than Idle.
	HalfClosed time.Duration
}

// Owner is told what becomes of a pair.
type Owner interface {
	// Moved tells of bytes that were delivered away from an end. It is called
	// once for all that a turn of that end has moved.
	Moved(end int, bytes uint64)
	// HalfClosed tells that the end of one side's stream was passed on.
	HalfClosed()
	// Ending is called once, before the sockets are closed.
	Ending()
	// Ended is called once. The sockets are closed by then.
	Ended(err error)
}

// Pair is a relayed connection. It is part of a larger record of the
// connection, which is why it is a value to embed and not allocated here.
type Pair struct {
	Ends [2]event.Socket

	loop     *event.Loop
	pool     *Pool
	owner    Owner
	timeouts *Timeouts
	dirs     [2]direction  // dirs[i] moves bytes away from Ends[i]
	last     time.Duration // when bytes were moved last, as the loop's Age
	timer    event.Timer
	shaping  *shaping // nil: as fast as it can
}

// Start begins to relay between the two Ends, which are registered on loop
// with a handler that calls p.Ready. early and late are bytes, at most 256 KiB
// each, that were read ahead from the client and from the server and still
// have to reach the other; they are copied. Timeouts are read through the
// pointer, so that one set serves many pairs. The pair may end, and its owner
// be told, before Start returns.
func (p *Pair) Start(loop *event.Loop, pool *Pool, owner Owner, t *Timeouts, early, late []byte) {
	p.loop, p.pool, p.owner, p.timeouts = loop, pool, owner, t
	p.last = loop.Age()
	p.timer.Func = p.expired
	for i := range p.dirs {
		p.dirs[i].paused()
	}
	for i, ahead := range [2][]byte{early, late} {
		if len(ahead) > 0 {
			p.dirs[i].held = pool.hold(ahead)
		}
	}
	p.arm()
	p.Ready(nil)
}

// SetTimeouts replaces the timeouts; those before count from the last byte on
// as well.
func (p *Pair) SetTimeouts(t *Timeouts) {
	p.timeouts = t
	if p.ended() {
		return
	}
	p.loop.Disarm(&p.timer)
	p.arm()
}

// Moved is the number of bytes delivered from the client to the server and
// back.
func (p *Pair) Moved() (up, down uint64) {
	return p.dirs[Client].moved, p.dirs[Server].moved
}

// Idle is how long ago bytes were moved last, or an end of stream.
func (p *Pair) Idle() time.Duration { return p.loop.Age() - p.last }

// Ready implements event.Handler.
func (p *Pair) Ready(*event.Socket) {
	if p.ended() {
		return
	}
	if p.Idle() > pause {
		p.dirs[Client].paused()
		p.dirs[Server].paused()
	}
	for i := range p.dirs {
		src, dst := &p.Ends[i], &p.Ends[1-i]
		before := p.dirs[i].moved
		result, err := p.dirs[i].run(src, dst, p.pool, p.dirs[1-i].shut, p.budget(i, p.loop.Now()))
		if n := p.dirs[i].moved - before; n > 0 {
			p.owner.Moved(i, n)
		}
		if p.dirs[i].active {
			p.dirs[i].active, p.last = false, p.loop.Age()
		}
		switch result {
		case yielded:
			p.yield(i, p.loop.Now())
			continue
		case ended:
			if p.dirs[1-i].shut {
				p.finish(nil, false)
				return
			}
			p.last = p.loop.Age()
			p.owner.HalfClosed()
			p.arm()
		case failed:
			p.finish(err, true)
			return
		}
		// Nothing more can be read from src for now. A reset is passed on
		// even if its bytes are held up by a receiver that takes nothing, or
		// if its stream had ended before.
		if src.Failed {
			src.Failed = false
			if err := socketError(src.FD); err != nil {
				p.finish(err, true)
				return
			}
		}
	}
}

// pause is how long a flow may be silent before it counts as a new one that
// has to prove its size again. One whose receiver is slow is silent while the
// kernel's send buffer drains: below some 100 Mbit/s for longer than this, so
// that it takes no pipe from those that are worth it.
const pause = 100 * time.Millisecond

// Abort ends the pair at once, with a reset on both legs.
func (p *Pair) Abort(err error) {
	if !p.ended() {
		p.finish(err, true)
	}
}

// limit is the time-out in force.
func (p *Pair) limit() (time.Duration, error) {
	half := p.dirs[Client].shut || p.dirs[Server].shut
	if t := p.timeouts.HalfClosed; half && t > 0 && (p.timeouts.Idle == 0 || t < p.timeouts.Idle) {
		return t, ErrHalfClosed
	}
	return p.timeouts.Idle, ErrIdle
}

func (p *Pair) arm() {
	if limit, _ := p.limit(); limit > 0 {
		p.loop.Arm(&p.timer, p.loop.Now().Add(limit-p.Idle()))
	}
}

// expired runs when the timer fires: activity since then only moves it on.
func (p *Pair) expired() {
	limit, reason := p.limit()
	if limit == 0 || p.Idle() < limit {
		p.arm()
		return
	}
	p.finish(reason, true)
}

// ended reports whether the sockets are closed, which they are together.
func (p *Pair) ended() bool { return p.Ends[Client].FD < 0 }

func (p *Pair) finish(err error, reset bool) {
	p.owner.Ending()
	p.loop.Disarm(&p.timer)
	p.unshape()
	for i := range p.dirs {
		p.dirs[i].drop(p.pool)
	}
	for i := range p.Ends {
		if reset {
			mptcp.ResetOnClose(p.Ends[i].FD)
		}
		p.loop.Close(&p.Ends[i])
	}
	p.owner.Ended(err)
}

func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}
