// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
)

// Checked is a hop that can be asked whether it is there.
type Checked interface {
	Hop
	// Check asks until ctx ends; nil says that the hop can serve clients.
	Check(ctx context.Context) error
}

// PoolOptions say what a Pool is made of. Intervals and counts that are zero
// have the default of NewPool.
type PoolOptions struct {
	Name string    // for the log
	Hops []Checked // best first
	// Last is the hop of last resort, after all others: it is never checked.
	// Nil refuses clients when none of Hops is up.
	Last     Hop
	Interval time.Duration // between checks of a hop; 5 s
	Timeout  time.Duration // of a check; 2 s
	Rise     int           // checks in a row that bring a hop up; 2
	Fall     int           // failures in a row, of checks or clients, that take it down; 3
	Log      *slog.Logger
}

// Pool is an upstream of several hops: the best of those that are up, and the
// others in case that it fails. A hop is up at first.
type Pool struct {
	o       PoolOptions
	members []*member
	hops    atomic.Pointer[[]Hop]

	mu sync.Mutex // of what follows and of the members' health
	up int        // members that are
}

// member is a hop with its health. Reports come to it from sessions.
type member struct {
	Checked
	pool   *Pool
	failed atomic.Bool   // the last thing heard of it was a failure
	kick   chan struct{} // asks for a check at once

	health health
	check  time.Time     // when the last check ended
	took   time.Duration // and how long it took
	err    error         // the last failure
}

// NewPool returns a pool in which all hops are up. Run keeps that true.
func NewPool(o PoolOptions) *Pool {
	o.Interval = cmp.Or(o.Interval, 5*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.Rise = cmp.Or(o.Rise, 2)
	o.Fall = cmp.Or(o.Fall, 3)
	p := &Pool{o: o, up: len(o.Hops)}
	now := time.Now()
	for _, h := range o.Hops {
		m := &member{Checked: h, pool: p, kick: make(chan struct{}, 1)}
		m.health = health{rise: o.Rise, fall: o.Fall, up: true, since: now}
		p.members = append(p.members, m)
	}
	p.publish()
	return p
}

// Hops implements Upstream.
func (p *Pool) Hops(*Request) []Hop { return *p.hops.Load() }

// publish makes the hops that are up those that sessions get to see.
func (p *Pool) publish() {
	var hops []Hop
	for _, m := range p.members {
		if m.health.up {
			hops = append(hops, m)
		}
	}
	if p.o.Last != nil {
		hops = append(hops, p.o.Last)
	}
	p.hops.Store(&hops)
}

// Run checks the hops until ctx ends.
func (p *Pool) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, m := range p.members {
		running.Go(func() { m.run(ctx) })
	}
	running.Wait()
}

func (m *member) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.kick:
		}
		began := time.Now()
		checking, cancel := context.WithTimeout(ctx, m.pool.o.Timeout)
		err := m.Check(checking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		m.note(err, now, func() { m.check, m.took = now, now.Sub(began) })
		timer.Reset(m.pool.o.Interval)
	}
}

// Report implements Hop: clients' connections count as checks.
func (m *member) Report(req *Request, status mptcp.Status, err error) {
	m.Checked.Report(req, status, err)
	switch {
	case isHopError(err):
		m.note(err, time.Now(), nil)
		select {
		case m.kick <- struct{}{}:
		default:
		}
	case m.failed.Load():
		m.heard()
	}
}

// heard notes that a client was served. It brings no hop up: clients that began
// before it went down may still end well.
func (m *member) heard() {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if m.health.up {
		m.failed.Store(false)
		m.health.failures = 0
	}
}

// note takes what was heard of a hop into account. also runs under the lock.
func (m *member) note(err error, now time.Time, also func()) {
	p := m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if also != nil {
		also()
	}
	m.failed.Store(err != nil)
	changed := m.health.note(err == nil, errors.Is(err, converter.ErrUnavailable), now)
	if err != nil {
		m.err = err
	}
	if !changed {
		return
	}
	log := p.o.Log.With("upstream", p.o.Name)
	if m.health.up {
		p.up++
		log.Info("hop is up again", "hop", m.Name())
	} else {
		p.up--
		log.Warn("hop is down", "hop", m.Name(), "err", err)
	}
	switch {
	case p.up == 0 && p.o.Last != nil:
		log.Error("no hop is up: clients take the last resort", "hop", p.o.Last.Name())
	case p.up == 0:
		log.Error("no hop is up: clients are refused")
	}
	p.publish()
}

// HopStatus is what a Pool knows of a hop.
type HopStatus struct {
	Name     string
	Up       bool
	Since    time.Time     // when that became so
	Failures int           // in a row
	Checked  time.Time     // when the last check ended; zero: never
	Took     time.Duration // the last check
	Err      error         // the last failure, even if it is over
}

// Status returns what is known of the hops, in their order.
func (p *Pool) Status() []HopStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]HopStatus, 0, len(p.members))
	for _, m := range p.members {
		list = append(list, HopStatus{
			Name: m.Name(), Up: m.health.up, Since: m.health.since, Failures: m.health.failures,
			Checked: m.check, Took: m.took, Err: m.err,
		})
	}
	return list
}
