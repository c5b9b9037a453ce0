// SPDX-License-Identifier: Apache-2.0

package subscribers

// PolicyStats is what the subscribers with a policy are and have moved.
type PolicyStats struct {
	Subscribers int // that have an account now
	Connections int // of these
	Over        int // of these, those whose quota is used up
	Up, Down    uint64
}

// total is what was moved under a policy by accounts that have ended or have
// another policy now.
type total [2]uint64

// rename notes that the account has another policy from now on: what it has
// moved so far was under the one before. The caller holds r.mu and a.mu.
func (r *Registry) rename(a *Account, named string) {
	if a.named == named {
		return
	}
	r.credit(a)
	a.named = named
}

// credit counts what an account has moved since that was counted last. The caller
// holds r.mu and a.mu.
func (r *Registry) credit(a *Account) {
	t := r.totals[a.named]
	if t == nil {
		t = new(total)
		r.totals[a.named] = t
	}
	for i := range t {
		now := a.moved[i].Load()
		t[i] += now - a.credited[i]
		a.credited[i] = now
	}
}

// PerPolicy returns what there is to say of each policy that some subscriber has,
// or had, by its name. There are not more of them than are configured.
func (r *Registry) PerPolicy() map[string]PolicyStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := map[string]PolicyStats{}
	for _, a := range r.ending {
		a.mu.Lock()
		r.credit(a)
		a.mu.Unlock()
	}
	for _, a := range r.accounts {
		a.mu.Lock()
		r.credit(a)
		s := stats[a.named]
		s.Subscribers++
		s.Connections += a.connections
		if a.over.Load() {
			s.Over++
		}
		stats[a.named] = s
		a.mu.Unlock()
	}
	for named, t := range r.totals {
		s := stats[named]
		s.Up, s.Down = t[Up], t[Down]
		stats[named] = s
	}
	return stats
}
