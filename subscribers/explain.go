// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"net/netip"
	"time"
)

// Membership is whose a connection would be, and what that would mean.
type Membership struct {
	// Name of the subscriber; "" if it is nobody's, or not known.
	Name string
	// By is how it is known: name, source (of the list) or address (of which
	// the Backend was asked).
	By string
	// Policy is what people call the policy, Allowed what it says, with the
	// changes of the Backend.
	Policy  string
	Allowed Policy
	// State is that of the account, nil if there is none now.
	State *State
}

// Explain says what Admit would do, with the same errors. It counts nothing and
// asks nobody.
func (r *Registry) Explain(user string, client netip.Addr, now time.Time) (Membership, error) {
	m, err := r.whose(r.directory.Load(), user, client, now)
	if err != nil {
		return Membership{}, err
	}
	x := Membership{
		Name: m.name, By: m.by, Policy: m.named, Allowed: m.grant.Changes.Apply(m.listed),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.accounts[m.name]
	if a == nil {
		return x, nil
	}
	s := a.State()
	x.State = &s
	a.mu.Lock()
	defer a.mu.Unlock()
	x.Policy, x.Allowed = a.named, *a.policy.Load()
	_, err = a.would(now)
	return x, err
}

// Lists reports whether the password of a user could be right: it is in the list,
// or the Backend may know it.
func (r *Registry) Lists(user string) (listed, asked bool) {
	return r.directory.Load().lists(user), r.o.Backend != nil
}
