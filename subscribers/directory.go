// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/tandem-gateway/tandem/config/password"
)

// Subscriber is one that the configuration lists.
type Subscriber struct {
	Name string
	// Password is known, in clear or by its hash. Without one the subscriber is
	// known by its sources, or its password by the Backend.
	Password string
	Hash     password.Hash
	Hashed   bool
	Sources  []netip.Prefix // clients that are the subscriber's though they say no name
	Policy   string         // "": the default one
}

// DirectoryConfig is what the configuration says of subscribers.
type DirectoryConfig struct {
	Subscribers []Subscriber
	Policies    map[string]Policy // by name
	Default     Policy            // of those for whom none is named
	DefaultName string            // what people call that; may be empty
}

// Directory is what the configuration says of subscribers, made to be looked up.
// It never changes; a reload replaces it.
type Directory struct {
	listed    map[string]listed
	passwords *password.Users
	sources   bart.Table[string]
	policies  map[string]Policy
	standard  Policy
	// standardName is what people call that.
	standardName string
}

type listed struct {
	policy   string
	password bool // is known
}

// NewDirectory refuses names and prefixes that are there twice, and policies that
// are not there.
func NewDirectory(c DirectoryConfig) (*Directory, error) {
	d := &Directory{listed: map[string]listed{}, policies: c.Policies, standard: c.Default, standardName: c.DefaultName}
	passwords, hashes := map[string]string{}, map[string]password.Hash{}
	for i := range c.Subscribers {
		s := &c.Subscribers[i]
		if d.lists(s.Name) || s.Name == "" {
			return nil, fmt.Errorf("subscriber %q: want a name that no other has", s.Name)
		}
		if _, known := d.policies[s.Policy]; s.Policy != "" && !known {
			return nil, fmt.Errorf("subscriber %q: there is no policy %q", s.Name, s.Policy)
		}
		d.listed[s.Name] = listed{s.Policy, s.Hashed || s.Password != ""}
		switch {
		case s.Hashed:
			hashes[s.Name] = s.Hash
		case s.Password != "":
			passwords[s.Name] = s.Password
		}
		for _, p := range s.Sources {
			p = unmapped(p).Masked()
			if other, twice := d.sources.Get(p); twice {
				return nil, fmt.Errorf("subscriber %q: %v is a source of %q too", s.Name, p, other)
			}
			d.sources.Insert(p, s.Name)
		}
	}
	d.passwords = password.NewUsers(passwords, hashes)
	return d, nil
}

// unmapped is the IPv4 prefix that one of IPv4-mapped addresses stands for.
func unmapped(p netip.Prefix) netip.Prefix {
	const mapped = 96 // bits of ::ffff:0:0/96
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}

// lists reports whether a subscriber is in the list.
func (d *Directory) lists(name string) bool {
	_, listed := d.listed[name]
	return listed
}

// bySource is who an address belongs to, "" if to nobody.
func (d *Directory) bySource(a netip.Addr) string {
	name, _ := d.sources.Lookup(a.Unmap().WithZone(""))
	return name
}

// policy finds a policy by its name.
func (d *Directory) policy(name string) (Policy, bool) {
	if name == "" {
		return d.standard, true
	}
	p, ok := d.policies[name]
	return p, ok
}

// policyOf is the policy of a subscriber with a grant.
func (d *Directory) policyOf(name string, g *Grant) (Policy, bool) {
	return d.policy(d.named(name, g))
}

// named is the name of that policy, "" for the default one.
func (d *Directory) named(name string, g *Grant) string {
	if g.Changes.Policy != "" {
		return g.Changes.Policy
	}
	return d.listed[name].policy
}

// nameOf is what people call that policy.
func (d *Directory) nameOf(name string, g *Grant) string {
	return cmp.Or(d.named(name, g), d.standardName)
}
