// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// Directions of bytes.
const (
	Up   = 0 // from the subscriber
	Down = 1 // to the subscriber
)

// Account is a subscriber that has connections, or had some a moment ago. It may
// be used from any goroutine; Moved and Allow take no lock.
type Account struct {
	Name   string
	epoch  time.Time
	inList bool // of subscribers, when the session began

	policy  atomic.Pointer[Policy]
	buckets [2]bucket
	moved   [2]atomic.Uint64 // in this session
	used    atomic.Uint64    // of the quota
	over    atomic.Bool      // the quota is used up
	limit   atomic.Uint64    // the quota; 0: none

	mu          sync.Mutex
	connections int
	due         int64 // when the next new connection is due at the long-run rate (GCRA), ns
	grant       Grant
	listed      Policy // before the changes of the grant
	named       string // what people call that
	credited    total  // of moved, to the totals of policies
	period      time.Time
	saved       uint64 // of used
	cause       Cause  // why the session has ended, or is about to
	networks    networks
	session     session
}

// session is what accounting tells of.
type session struct {
	id      string
	address netip.Addr // of the first client
	start   time.Time
	last    time.Time // of a byte, or the last connection's end
	seen    uint64    // bytes then
	interim time.Time // of the last interim record
}

// Allow returns how many bytes may move in a direction at a moment, or 0 and
// how long to wait before asking again.
func (a *Account) Allow(direction int, now time.Time) (bytes int, wait time.Duration) {
	return a.buckets[direction].allow(int64(now.Sub(a.epoch)))
}

// Moved counts bytes that were moved in a direction.
func (a *Account) Moved(direction int, bytes uint64, now time.Time) {
	a.moved[direction].Add(bytes)
	a.buckets[direction].spend(bytes, int64(now.Sub(a.epoch)))
	used := a.used.Add(bytes)
	if limit := a.limit.Load(); limit > 0 && used >= limit && !a.over.Load() {
		a.mu.Lock()
		a.enforce()
		a.mu.Unlock()
	}
}

// Options are those of the subscriber's connections.
func (a *Account) Options() options.Set { return a.policy.Load().Options }

// Caps bound what clients may ask for on the subscriber's connections.
func (a *Account) Caps() *options.Caps { return &a.policy.Load().Caps }

// Check says whether the subscriber may go to dst: nil, or an error that wraps
// policy.ErrDenied.
func (a *Account) Check(dst netip.AddrPort) error {
	if d := a.policy.Load().Destinations; d != nil {
		return d.Check(dst)
	}
	return nil
}

// admit counts a new connection, or says which limit is in the way.
func (a *Account) admit(now time.Time) error {
	due, err := a.would(now)
	if err != nil {
		return err
	}
	a.due = due
	a.connections++
	return nil
}

// would says which limit is in the way of a new connection, or when the next one
// is due after it.
func (a *Account) would(now time.Time) (due int64, err error) {
	p := a.policy.Load()
	if p.Connections > 0 && a.connections >= p.Connections {
		return 0, &policy.Refused{Reason: policy.Subscriber}
	}
	if p.NewPerSecond == 0 {
		return a.due, nil
	}
	t, interval := int64(now.Sub(a.epoch)), int64(float64(time.Second)/p.NewPerSecond)
	due = max(a.due, t)
	if due-t > int64(p.burst()-1)*interval {
		return 0, &policy.Refused{Reason: policy.SubscriberRate}
	}
	return due + interval, nil
}

// Release takes back a connection that the registry has admitted.
func (a *Account) Release(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.connections--
	a.session.last = now
}

// settle computes what is in force from what was listed and granted.
func (a *Account) settle(now time.Time) {
	p := a.grant.Changes.Apply(a.listed)
	a.policy.Store(&p)
	if start := p.Quota.Period.Start(now); !start.Equal(a.period) {
		a.period, a.saved = start, 0
		a.used.Store(0)
	}
	a.limit.Store(p.Quota.Bytes)
	a.enforce()
}

// enforce sets the rates.
func (a *Account) enforce() {
	p := a.policy.Load()
	over := p.Quota.Bytes > 0 && a.used.Load() >= p.Quota.Bytes
	a.over.Store(over)
	up, down := p.Up, p.Down
	if over {
		up, down = p.Quota.rate(up), p.Quota.rate(down)
	}
	a.buckets[Up].limit(up)
	a.buckets[Down].limit(down)
}

// State is an account as it was a moment ago.
type State struct {
	Name        string
	Session     string // for accounting
	Policy      string // the name of it; empty for the default one if that has none
	Since       time.Time
	Address     netip.Addr // of its first client
	Connections int
	Up, Down    uint64 // bytes in this session
	Quota       Quota
	Used        uint64 // of the quota
	Over        bool   // the quota is used up
	RateUp      uint64 // in force, bytes per second; 0: no limit
	RateDown    uint64
	Networks    []Network // what was moved over each access network in this session
}

// State returns the account as it is now.
func (a *Account) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.policy.Load()
	return State{
		Name: a.Name, Session: a.session.id, Policy: a.named, Since: a.session.start, Address: a.session.address,
		Connections: a.connections, Up: a.moved[Up].Load(), Down: a.moved[Down].Load(),
		Quota: p.Quota, Used: a.used.Load(), Over: a.over.Load(),
		RateUp: a.buckets[Up].rate.Load(), RateDown: a.buckets[Down].rate.Load(), Networks: a.networks.list(),
	}
}

// PolicyName is the name of the policy; empty for the default one if that has
// none.
func (a *Account) PolicyName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.named
}

// unsaved is what was used since it was saved last.
func (a *Account) unsaved() Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	used := a.used.Load()
	u := Usage{Name: a.Name, Period: a.period, End: a.policy.Load().Quota.Period.End(a.period), Bytes: used - min(a.saved, used)}
	a.saved = used
	return u
}

// learn hears what became of what unsaved returned: what was used in all, by
// other sessions and processes too, or that it could not be saved.
func (a *Account) learn(u *Usage, saved bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !u.Period.Equal(a.period):
	case !saved:
		a.saved -= min(u.Bytes, a.saved)
	case u.Bytes > a.saved:
		a.used.Add(u.Bytes - a.saved)
		a.saved = u.Bytes
		a.enforce()
	}
}

// networks is what was moved over each access network.
type networks struct {
	mu    sync.Mutex
	moved map[string]Network
}

// MovedOver counts bytes of a connection by the access network that they came
// over. They are counted by Moved too.
func (a *Account) MovedOver(network string, up, down uint64) {
	n := &a.networks
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.moved == nil {
		n.moved = map[string]Network{}
	}
	was := n.moved[network]
	n.moved[network] = Network{network, was.Up + up, was.Down + down}
}

func (n *networks) list() []Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.moved), func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
}
