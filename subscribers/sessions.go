// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// round is how often sessions are looked at.
	round = time.Second
	// settling is how long connections that are ended may take to say what
	// they have moved.
	settling = 5 * time.Second
)

// begin makes the account of a subscriber who had none. The caller holds r.mu.
func (r *Registry) begin(m *match, client netip.Addr, now time.Time) *Account {
	name, listed, grant := m.name, m.listed, m.grant
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	a := &Account{Name: name, epoch: now, inList: r.directory.Load().lists(name), listed: listed, named: m.named, grant: grant}
	a.session = session{id: hex.EncodeToString(id[:]), address: client, start: now, last: now, interim: now}
	p := grant.Changes.Apply(listed)
	a.period = p.Quota.Period.Start(now)
	a.saved = r.o.Store.Used(name, a.period)
	for _, before := range r.ending {
		if before.Name == name {
			a.saved = max(a.saved, before.used.Load()) // not saved yet
		}
	}
	a.used.Store(a.saved)
	a.settle(now)
	r.accounts[name] = a
	r.tell(a, Start, NoCause, now)
	return a
}

// renew puts a new grant of the Backend into force.
func (r *Registry) renew(name string, g Grant, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.accounts[name]; a != nil {
		r.regrant(a, r.directory.Load(), g, now)
	}
}

// regrant reports whether the policy of the grant is there.
func (r *Registry) regrant(a *Account, d *Directory, g Grant, now time.Time) bool {
	listed, ok := d.policyOf(a.Name, &g)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r.rename(a, d.nameOf(a.Name, &g))
	a.grant, a.listed = g, listed
	a.settle(now)
	return true
}

// tell tells the Accountant of a session. It takes no lock of the account: who
// calls it holds that of the registry, under which alone sessions change.
func (r *Registry) tell(a *Account, k Kind, c Cause, now time.Time) {
	if r.o.Accountant == nil {
		return
	}
	r.o.Accountant.Account(Event{
		Kind: k, User: a.Name, Session: a.session.id, Address: a.session.address, Class: a.grant.Class,
		Time: now, Start: a.session.start, Up: a.moved[Up].Load(), Down: a.moved[Down].Load(),
		Networks: a.networks.list(), Cause: c,
	})
}

// watch looks after sessions and quotas.
func (r *Registry) watch() {
	ticker := time.NewTicker(round)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			r.look(now)
			if r.o.Store.due(now) {
				r.flush()
			}
		case <-r.ctx.Done():
			return
		}
	}
}

// look ends the sessions whose time has come.
func (r *Registry) look(now time.Time) {
	var kicked []*Account
	r.mu.Lock()
	for name, a := range r.accounts {
		cause := r.due(a, now)
		if cause == NoCause {
			continue
		}
		delete(r.accounts, name)
		r.end(a, cause, now)
		kicked = append(kicked, a)
	}
	r.mu.Unlock()
	r.kick(kicked)
	r.bury(now)
}

// due looks at one session, and says why it ends if it does.
func (r *Registry) due(a *Account, now time.Time) Cause {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, s := a.policy.Load(), &a.session
	if !p.Quota.Period.Start(now).Equal(a.period) {
		a.settle(now)
	}
	if moved := a.moved[Up].Load() + a.moved[Down].Load(); moved != s.seen {
		s.seen, s.last = moved, now
	}
	interim := a.grant.Interim
	if interim == 0 {
		interim = r.o.Interim
	}
	switch {
	case p.Lifetime > 0 && now.Sub(s.start) >= p.Lifetime:
		return Lifetime
	case p.Idle > 0 && now.Sub(s.last) >= p.Idle:
		return IdleTimeout
	case a.connections == 0 && now.Sub(s.last) >= r.o.Linger:
		return Logout
	case interim > 0 && now.Sub(s.interim) >= interim:
		s.interim = now
		r.tell(a, Interim, NoCause, now)
	}
	return NoCause
}

// end begins the end of a session that is no longer in the list.
func (r *Registry) end(a *Account, c Cause, now time.Time) {
	a.mu.Lock()
	a.cause, a.session.last = c, now
	a.mu.Unlock()
	if c != Logout {
		// Whoever has to go does not come back on an old answer.
		r.cache.forget(a.Name)
	}
	r.ending = append(r.ending, a)
}

// ended reports whether the connections of a session that ends have ended, or
// have had time to.
func (a *Account) ended(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.connections <= 0 || now.Sub(a.session.last) >= settling
}

// bury tells of the ends of sessions.
func (r *Registry) bury(now time.Time) {
	r.mu.Lock()
	var ended []*Account
	for _, a := range r.ending {
		if a.ended(now) {
			ended = append(ended, a)
		}
	}
	r.mu.Unlock()
	if len(ended) == 0 {
		return
	}
	r.save(ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = slices.DeleteFunc(r.ending, func(a *Account) bool { return slices.Contains(ended, a) })
	for _, a := range ended {
		a.mu.Lock()
		r.credit(a)
		a.mu.Unlock()
		r.tell(a, Stop, a.cause, now)
	}
}

func (r *Registry) kick(accounts []*Account) {
	if r.o.Kick == nil {
		return
	}
	for _, a := range accounts {
		r.o.Kick(a)
	}
}

// Matches says which sessions are meant: those that have all that is given.
type Matches struct {
	Name, Session string
	Address       netip.Addr // of the first client
}

func (m *Matches) are(a *Account) bool {
	return (m.Name == "" || m.Name == a.Name) && (m.Session == "" || m.Session == a.session.id) &&
		(!m.Address.IsValid() || m.Address.Unmap() == a.session.address.Unmap())
}

// Disconnect ends sessions with their connections, and returns how many there
// were.
func (r *Registry) Disconnect(m Matches) int {
	now := time.Now()
	var kicked []*Account
	r.mu.Lock()
	for name, a := range r.accounts {
		if m.are(a) {
			delete(r.accounts, name)
			r.end(a, Kicked, now)
			kicked = append(kicked, a)
		}
	}
	r.mu.Unlock()
	r.kick(kicked)
	return len(kicked)
}

// Change changes the policy of live sessions, and returns which there were. The
// error is for a policy that is not configured.
func (r *Registry) Change(m Matches, c Changes) ([]*Account, error) {
	now, d := time.Now(), r.directory.Load()
	if _, ok := d.policy(c.Policy); !ok {
		return nil, errNoPolicy(c.Policy)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var changed []*Account
	for _, a := range r.accounts {
		if m.are(a) {
			a.mu.Lock()
			g := a.grant
			a.mu.Unlock()
			g.Changes = c.Over(g.Changes)
			r.regrant(a, d, g, now)
			r.cache.amend(a.Name, g)
			changed = append(changed, a)
		}
	}
	return changed, nil
}

// flush saves what has been used of quotas.
func (r *Registry) flush() {
	r.mu.Lock()
	all := slices.AppendSeq(slices.Clone(r.ending), maps.Values(r.accounts))
	r.mu.Unlock()
	r.save(all)
}

// save waits for the disk: the caller does not hold r.mu.
func (r *Registry) save(accounts []*Account) {
	batch := make([]Usage, len(accounts))
	for i, a := range accounts {
		batch[i] = a.unsaved()
	}
	err := r.o.Store.Add(batch)
	if err != nil {
		r.log.Error("cannot save what is used of quotas; tandem goes on trying", "err", err)
	}
	for i, a := range accounts {
		a.learn(&batch[i], err == nil)
	}
}

// Close ends all sessions, whose connections have ended, and saves quotas.
func (r *Registry) Close() {
	r.stop()
	r.running.Wait()
	r.flush()
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.accounts {
		r.tell(a, Stop, Shutdown, now)
	}
	for _, a := range r.ending {
		r.tell(a, Stop, a.cause, now)
	}
	r.accounts, r.ending = map[string]*Account{}, nil
}
