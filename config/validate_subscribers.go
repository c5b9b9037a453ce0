// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/config/password"
)

const longestName = 253 // bytes of a RADIUS attribute

func (v *validator) subscribers(c *Config) {
	s := &c.Subscribers
	policies := map[string]string{}
	for i := range s.Policies {
		v.policy(fmt.Sprintf("subscribers.policies[%d]", i), &s.Policies[i], policies)
	}
	v.policyName("subscribers.default-policy", s.DefaultPolicy, policies)
	first, owners := map[string]int{}, map[netip.Prefix]string{}
	for i := range s.List {
		one, path := &s.List[i], fmt.Sprintf("subscribers.list[%d]", i)
		switch j, again := first[one.Name]; {
		case one.Name == "":
			v.missing(join(path, "name"), "want a name")
		case len(one.Name) > longestName || strings.ContainsRune(one.Name, ';'):
			v.bad(join(path, "name"), quote(one.Name), fmt.Sprintf("want at most %d bytes and no ;", longestName))
		case again:
			v.bad(join(path, "name"), fmt.Sprintf("%q is the name of subscribers.list[%d] too", one.Name, j), "want another name")
		}
		first[one.Name] = i
		v.subscriber(path, one, owners)
		v.policyName(join(path, "policy"), one.Policy, policies)
	}
	v.positive("subscribers.linger", s.Linger)
	ranged(v, "subscribers.quota-flush", s.QuotaFlush, time.Second, time.Hour)
	v.radius("subscribers.radius", &s.RADIUS)
	for i := range c.Listeners {
		v.membership(fmt.Sprintf("listeners[%d].subscribers", i), c, &c.Listeners[i])
	}
}

func (v *validator) policyName(path, name string, policies map[string]string) {
	if _, known := policies[name]; name != "" && !known {
		v.bad(path, fmt.Sprintf("there is no policy %q", name), "want the name of one in subscribers.policies")
	}
}

func (v *validator) subscriber(path string, s *Subscriber, owners map[netip.Prefix]string) {
	given := 0
	for _, p := range []string{s.Password, s.PasswordFile, s.PasswordHash} {
		if p != "" {
			given++
		}
	}
	if given > 1 {
		v.bad(path, "several passwords", "want one of password, password-file and password-hash")
	}
	if len(s.Password) > longestCredential {
		v.bad(join(path, "password"), fmt.Sprintf("a password of %d bytes", len(s.Password)), "want at most 255, which is all that SOCKS5 can carry")
	}
	if s.PasswordHash != "" {
		if _, err := password.Parse(s.PasswordHash); err != nil {
			v.bad(join(path, "password-hash"), err.Error(), "want what the command tandem hash-password prints")
		}
	}
	for i, p := range s.Sources {
		at := fmt.Sprintf("%s.sources[%d]", path, i)
		if other, twice := owners[p]; twice && p.IsValid() {
			v.bad(at, fmt.Sprintf("%v is a source of %s too", p, other), "want each prefix once")
		}
		owners[p] = path
	}
}

func (v *validator) policy(path string, p *SubscriberPolicy, names map[string]string) {
	v.name(join(path, "name"), p.Name, names)
	v.count(join(path, "connections"), p.Connections)
	v.newConnections(path, p.NewPerSecond, p.Burst)
	const least, most = 8000, Rate(1e15)
	for key, rate := range map[string]Rate{"rate-up": p.RateUp, "rate-down": p.RateDown, "quota.reduced-rate": p.Quota.ReducedRate} {
		if rate != 0 && (rate < least || rate > most) {
			v.bad(join(path, key), rate.String()+" is out of range", "want 8kbit to 1000000Gbit")
		}
	}
	switch {
	case p.Quota.Size < 0:
		v.bad(join(path, "quota.size"), p.Quota.Size.String(), "want a size, such as 50GB")
	case p.Quota.ReducedRate == 0 && p.Quota.Size > 0:
		v.bad(join(path, "quota.reduced-rate"), "0 would stop all connections", "want a rate, such as 64kbit")
	}
	if s, ok := optionValues(v, join(path, "options.defaults"), p.Options.Defaults); ok {
		v.ownChoice(join(path, "options.defaults"), s)
	}
	optionValues(v, join(path, "options.caps"), p.Options.Caps)
	v.congestionControls(join(path, "options.congestion-controls"), p.Options.CongestionControls)
	if p.Destinations != nil && p.Destinations.Only && len(p.Destinations.Allow) == 0 {
		v.bad(join(path, "destinations.only"), "denies everything", "want rules in "+join(path, "destinations.allow"))
	}
}

func (v *validator) radius(path string, r *RADIUS) {
	ranged(v, join(path, "timeout"), r.Timeout, 10*time.Millisecond, time.Minute)
	ranged(v, join(path, "tries"), r.Tries, 1, 10)
	ranged(v, join(path, "dead-time"), r.DeadTime, time.Second, time.Hour)
	ranged(v, join(path, "cache.time"), r.Cache.Time, time.Second, 24*time.Hour)
	ranged(v, join(path, "cache.negative"), r.Cache.Negative, time.Second, time.Hour)
	ranged(v, join(path, "cache.size"), r.Cache.Size, 1, 1<<24)
	ranged(v, join(path, "accounting.room"), r.Accounting.Room, 1, 1<<24)
	if i := r.Accounting.Interim; i != 0 {
		ranged(v, join(path, "accounting.interim"), i, time.Minute, 24*time.Hour)
	}
	if r.Identifier == "" || len(r.Identifier) > longestName {
		v.bad(join(path, "identifier"), quote(r.Identifier), "want a name of this gateway")
	}
	if r.ByAddress && len(r.Servers) == 0 {
		v.bad(join(path, "by-address"), "there is nobody to ask", "want "+join(path, "servers"))
	}
	if r.WhenAway == AwayAllow && len(r.Servers) > 0 {
		v.warn(join(path, "when-away"), "everybody is let in while no server answers", "better cached, or refuse")
	}
	for i, s := range r.Servers {
		v.radiusServer(fmt.Sprintf("%s.servers[%d]", path, i), s)
	}
	for i, s := range r.Accounting.Servers {
		v.radiusServer(fmt.Sprintf("%s.accounting.servers[%d]", path, i), s)
	}
	d := &r.Dynamic
	path = join(path, "dynamic")
	if d.Listen != nil {
		v.listenAddress(join(path, "listen"), *d.Listen)
		if len(d.Clients) == 0 {
			v.missing(join(path, "clients"), "want those who may send requests")
		}
	}
	for i, c := range d.Clients {
		at := fmt.Sprintf("%s.clients[%d]", path, i)
		if !c.Address.IsValid() {
			v.missing(join(at, "address"), "want the address of a client")
		}
		v.sharedSecret(at, c.Secret, c.SecretFile)
	}
}

func (v *validator) radiusServer(path string, s RADIUSServer) {
	if !s.Address.IsValid() {
		v.missing(join(path, "address"), "want an address and a port, such as 192.0.2.9:1812")
	} else {
		v.connectable(join(path, "address"), s.Address)
	}
	v.sharedSecret(path, s.Secret, s.SecretFile)
}

func (v *validator) sharedSecret(path, secret, file string) {
	if (secret == "") == (file == "") {
		v.bad(path, "no secret, or two", "want one of secret and secret-file")
	}
	// RFC 2865 section 3: at least as large and unguessable as a password.
	if secret != "" && len(secret) < leastKey {
		v.warn(join(path, "secret"), fmt.Sprintf("a secret of %d bytes can be found out by trying", len(secret)), "better the output of: openssl rand -hex 32")
	}
}

// membership checks what a listener asks for.
func (v *validator) membership(path string, c *Config, l *Listener) {
	s := &c.Subscribers
	switch {
	case l.Subscribers == MembersOff || l.Subscribers == "":
	case len(s.List) == 0 && len(s.RADIUS.Servers) == 0:
		v.bad(path, string(l.Subscribers)+" without subscribers", "want subscribers.list or subscribers.radius.servers")
	case l.SOCKS5 != nil && len(l.SOCKS5.Users) > 0:
		v.bad(path, string(l.Subscribers)+" beside socks5.users", "want the users in subscribers.list")
	case l.SOCKS5 == nil && l.Subscribers == MembersRequired && !s.RADIUS.ByAddress &&
		!slices.ContainsFunc(s.List, func(one Subscriber) bool { return len(one.Sources) > 0 }):
		v.bad(path, "nobody can be a subscriber here, where clients say no name", "want sources in subscribers.list, or subscribers.radius.by-address")
	}
}

// secretFiles lists the files with secrets of subscribers and servers.
func (s *Subscribers) secretFiles() []fileKey {
	var keys []fileKey
	add := func(path string, file *string) {
		if *file != "" {
			keys = append(keys, fileKey{path, file})
		}
	}
	for i := range s.List {
		add(fmt.Sprintf("subscribers.list[%d].password-file", i), &s.List[i].PasswordFile)
	}
	for i := range s.RADIUS.Servers {
		add(fmt.Sprintf("subscribers.radius.servers[%d].secret-file", i), &s.RADIUS.Servers[i].SecretFile)
	}
	for i := range s.RADIUS.Accounting.Servers {
		add(fmt.Sprintf("subscribers.radius.accounting.servers[%d].secret-file", i), &s.RADIUS.Accounting.Servers[i].SecretFile)
	}
	for i := range s.RADIUS.Dynamic.Clients {
		add(fmt.Sprintf("subscribers.radius.dynamic.clients[%d].secret-file", i), &s.RADIUS.Dynamic.Clients[i].SecretFile)
	}
	return keys
}

// locateQuotas takes the path of the quota file as relative to a directory.
func (s *Subscribers) locateQuotas(dir string) {
	if s.QuotaFile != "" && !filepath.IsAbs(s.QuotaFile) {
		s.QuotaFile = filepath.Join(dir, s.QuotaFile)
	}
}
