// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// Away says what is done when the Backend does not answer.
type Away uint8

// What can be done.
const (
	Refuse Away = iota // nobody is let in whose last answer is too old
	Cached             // its last answer counts, however old
	Allow              // everybody is let in, with the last answer or the default policy
)

// Options of a Registry.
type Options struct {
	Directory *Directory // nil: an empty one
	Backend   Backend    // nil: none
	// ByAddress asks the Backend about clients that say no name, by their
	// address.
	ByAddress  bool
	WhenAway   Away
	Cache      CacheOptions
	Accountant Accountant    // nil: none
	Interim    time.Duration // between accounting records; 0: only first and last
	// Linger is how long a session lasts without a connection; 0 is
	// DefaultLinger.
	Linger time.Duration
	Store  *Store // of quotas; nil: in memory
	// Kick ends the connections of an account. It must not block for long and is
	// called from a goroutine of the registry.
	Kick func(*Account)
	Log  *slog.Logger // nil: slog.Default
}

// maxAsked bounds the questions to a Backend that have no answer yet: those who
// asked may have left long ago, and others come and guess.
const maxAsked = 1024

// DefaultLinger is how long a session lasts without a connection.
const DefaultLinger = time.Minute

// Registry knows the subscribers. It may be used from any goroutine.
type Registry struct {
	o         Options
	log       *slog.Logger
	directory atomic.Pointer[Directory]
	cache     *cache
	asking    singleflight.Group
	asked     atomic.Int64 // questions that have no answer yet
	counters  counters

	mu       sync.Mutex
	accounts map[string]*Account
	ending   []*Account // their last connections are about to end
	totals   map[string]*total

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

type counters struct{ granted, rejected, away, busy, answered atomic.Uint64 }

// Stats count answers to the question who somebody is.
type Stats struct {
	Granted  uint64 // by the Backend
	Rejected uint64 // by the Backend
	Away     uint64 // no server of the Backend answered
	Busy     uint64 // the Backend was not asked, because it was asked too much already
	Cached   uint64 // without asking
	Accounts int    // that there are now
}

// NewRegistry begins to look after sessions. Close ends that.
func NewRegistry(o Options) (*Registry, error) {
	if o.Directory == nil {
		o.Directory, _ = NewDirectory(DirectoryConfig{}) // an empty one has no mistakes
	}
	if o.Linger == 0 {
		o.Linger = DefaultLinger
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Store == nil {
		o.Store, _ = OpenStore("") // memory does not fail
	}
	r := &Registry{o: o, log: o.Log, cache: newCache(o.Cache), accounts: map[string]*Account{}, totals: map[string]*total{}}
	r.directory.Store(o.Directory)
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.running.Go(r.watch)
	return r, nil
}

// Replace puts another directory into force, for live sessions too. Those of
// subscribers that are not listed any more go on with what they have.
func (r *Registry) Replace(d *Directory) {
	r.directory.Store(d)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.accounts {
		if a.inList && !d.lists(a.Name) {
			continue // the default policy is for others
		}
		a.mu.Lock()
		if p, ok := d.policyOf(a.Name, &a.grant); ok {
			r.rename(a, d.nameOf(a.Name, &a.grant))
			a.listed = p
			a.settle(time.Now())
		}
		a.mu.Unlock()
	}
}

// Stats are counts since the start.
func (r *Registry) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.counters
	return Stats{Granted: c.granted.Load(), Rejected: c.rejected.Load(), Away: c.away.Load(), Busy: c.busy.Load(), Cached: c.answered.Load(), Accounts: len(r.accounts)}
}

// local reports whether the password of a user is a matter of the directory.
func (r *Registry) local(d *Directory, user string) bool {
	return d.listed[user].password || r.o.Backend == nil
}

// Known says whether a password is right, if that is known already. With Verify
// and Valid it makes the registry a Verifier of package socks.
func (r *Registry) Known(user, password string) (right, known bool) {
	d := r.directory.Load()
	if r.local(d, user) {
		return d.passwords.Known(user, password)
	}
	_, err := r.cache.lookup(&Question{User: user, Password: password}, time.Now(), false)
	if err != ErrAsk {
		r.counters.answered.Add(1)
	}
	return err == nil, err != ErrAsk
}

// Verify finds out whether a password is right. An error means that it could not
// be found out.
func (r *Registry) Verify(ctx context.Context, user, password string) (bool, error) {
	d := r.directory.Load()
	if r.local(d, user) {
		return d.passwords.Verify(ctx, user, password)
	}
	err := r.ask(ctx, &Question{User: user, Password: password})
	if errors.Is(err, ErrRejected) {
		return false, nil
	}
	return err == nil, err
}

// Valid is Verify without an end: for those who may wait.
func (r *Registry) Valid(user, password string) bool {
	right, _ := r.Verify(context.Background(), user, password)
	return right
}

// ask asks the Backend, once for all who want to know the same.
func (r *Registry) ask(ctx context.Context, q *Question) error {
	if _, err := r.cache.lookup(q, time.Now(), false); err != ErrAsk {
		return err
	}
	d := r.cache.digest(q)
	answer := r.asking.DoChan(string(d[:]), func() (any, error) { return nil, r.inquire(q) })
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return fmt.Errorf("authenticate %q: %w", q.User, ctx.Err())
	}
}

// inquire asks the Backend and remembers the answer.
func (r *Registry) inquire(q *Question) error {
	defer r.asked.Add(-1)
	if r.asked.Add(1) > maxAsked {
		r.counters.busy.Add(1)
		return ErrBusy // which WhenAway is not for: whoever asks enough would be let in
	}
	grant, err := r.o.Backend.Authenticate(r.ctx, *q)
	now := time.Now()
	if err == nil {
		if _, ok := r.directory.Load().policyOf(q.User, &grant); !ok {
			r.log.Warn("a subscriber is refused whose policy is not configured", "user", q.User, "policy", grant.Changes.Policy)
			err = fmt.Errorf("%w: there is no policy %q", ErrRejected, grant.Changes.Policy)
		}
	}
	switch {
	case err == nil:
		r.counters.granted.Add(1)
		r.cache.allow(q, grant, now)
		r.renew(q.User, grant, now)
	case errors.Is(err, ErrRejected):
		r.counters.rejected.Add(1)
		r.cache.deny(q, now)
	default:
		r.counters.away.Add(1)
		return r.whenAway(q, now, err)
	}
	return err
}

// whenAway decides when the Backend does not.
func (r *Registry) whenAway(q *Question, now time.Time, err error) error {
	if r.o.WhenAway == Refuse {
		return err
	}
	grant, old := r.cache.lookup(q, now, true)
	switch {
	case old == nil:
		r.cache.postpone(q, grant, now)
		return nil
	case r.o.WhenAway == Allow:
		if !q.ByAddress {
			// Whoever it is is not to lift what was laid on the one with that name.
			grant, _ = r.cache.grantOf(q.User)
		}
		r.cache.postpone(q, grant, now)
		return nil
	}
	return err
}

// Admit counts a connection of a user who has shown itself, or, if that is "", of
// the subscriber whose the client's address is. The account is to be released
// when the connection ends. The error is ErrNobody or a *policy.Refused; ErrAsk
// says to call Find, which may block, and then Admit again.
func (r *Registry) Admit(user string, client netip.Addr, now time.Time) (*Account, error) {
	d := r.directory.Load()
	m, err := r.whose(d, user, client, now)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, fmt.Errorf("%w: the gateway ends", ErrNobody)
	}
	a := r.accounts[m.name]
	if a == nil {
		a = r.begin(&m, client, now)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.admit(now); err != nil {
		return nil, err
	}
	return a, nil
}

// match is whose a connection is, with what there is to say about that.
type match struct {
	name   string
	by     string // how that is known
	listed Policy
	named  string // what people call that
	grant  Grant
}

// whose finds out whose a connection is, see Admit.
func (r *Registry) whose(d *Directory, user string, client netip.Addr, now time.Time) (match, error) {
	m := match{name: user}
	switch name := d.bySource(client); {
	case user != "":
		m.by = "name"
		m.grant, _ = r.cache.grantOf(user)
	case name != "":
		m.name, m.by = name, "source"
	case r.o.Backend == nil || !r.o.ByAddress:
		return m, fmt.Errorf("%w: no source has %v", ErrNobody, client)
	default:
		var err error
		q := byAddress(client)
		if m.grant, err = r.cache.lookup(&q, now, false); err == ErrAsk {
			return m, ErrAsk
		} else if err != nil {
			return m, fmt.Errorf("%w: %v: %w", ErrNobody, client, err)
		}
		m.name, m.by = q.User, "address"
	}
	listed, ok := d.policyOf(m.name, &m.grant)
	if !ok {
		return m, fmt.Errorf("%w: there is no policy %q any more", ErrNobody, m.grant.Changes.Policy)
	}
	m.listed, m.named = listed, d.nameOf(m.name, &m.grant)
	return m, nil
}

// Find asks the Backend whose an address is.
func (r *Registry) Find(ctx context.Context, client netip.Addr) error {
	q := byAddress(client)
	err := r.ask(ctx, &q)
	if errors.Is(err, ErrRejected) {
		return fmt.Errorf("%w: %v: %w", ErrNobody, client, err)
	}
	return err
}

func byAddress(a netip.Addr) Question {
	a = a.Unmap().WithZone("")
	return Question{User: a.String(), Address: a, ByAddress: true}
}

// Accounts returns those that there are.
func (r *Registry) Accounts() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]State, 0, len(r.accounts))
	for _, a := range r.accounts {
		all = append(all, a.State())
	}
	return all
}
