// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"time"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/radius"
	"github.com/tandem-gateway/tandem/subscribers"
)

// lastRecords is how long the last accounting records may take to be sent.
const lastRecords = 5 * time.Second

// aaa is who subscribers are, what they may do, and who is told of it.
type aaa struct {
	config     config.Subscribers // as it was at the start
	registry   *subscribers.Registry
	accounting *radius.Accounting // nil: none
	dynamic    *radius.Dynamic    // nil: none
	elders     []*net.UnixConn    // of dynamic, to processes from before
}

// start begins to know the subscribers of a server that has no connections yet.
// Processes from before are told of requests to change sessions.
func (a *aaa) start(c *config.Subscribers, left *estate, server *proxy.Server, log *slog.Logger) error {
	a.config = *c
	o := subscribers.Options{
		ByAddress: c.RADIUS.ByAddress, WhenAway: away(c.RADIUS.WhenAway), Interim: c.RADIUS.Accounting.Interim, Linger: c.Linger,
		Cache: subscribers.CacheOptions{Time: c.RADIUS.Cache.Time, Negative: c.RADIUS.Cache.Negative, Size: c.RADIUS.Cache.Size},
		Kick:  func(a *subscribers.Account) { server.KickAccount(a) }, Log: log,
	}
	var err error
	if o.Directory, err = directory(c); err != nil {
		return err
	}
	if o.Store, err = subscribers.OpenStore(c.QuotaFile); err != nil {
		return err
	}
	o.Store.Flush = c.QuotaFlush
	identity := radius.Identity{NAS: c.RADIUS.Identifier}
	if c.RADIUS.Address != nil {
		identity.Address = *c.RADIUS.Address
	}
	patience := radius.Patience{Timeout: c.RADIUS.Timeout, Tries: c.RADIUS.Tries, Dead: c.RADIUS.DeadTime}
	servers, err := radiusServers(c.RADIUS.Servers)
	if err != nil {
		return err
	}
	if len(servers) > 0 {
		o.Backend = radius.NewClient(radius.ClientOptions{Servers: servers, Patience: patience, Identity: identity, Log: log})
	}
	if servers, err = radiusServers(c.RADIUS.Accounting.Servers); err != nil {
		return err
	}
	if len(servers) > 0 {
		a.accounting = radius.NewAccounting(radius.AccountingOptions{
			Servers: servers, Patience: patience, Identity: identity, Room: c.RADIUS.Accounting.Room, Log: log,
		})
		o.Accountant = a.accounting
	}
	if a.registry, err = subscribers.NewRegistry(o); err != nil {
		return err
	}
	if left != nil {
		if a.elders, err = radius.AdoptElders(left.Elders); err != nil {
			return err
		}
	}
	return a.listen(&c.RADIUS.Dynamic, identity, server, log)
}

// listen takes requests to change sessions.
func (a *aaa) listen(c *config.RADIUSDynamic, identity radius.Identity, server *proxy.Server, log *slog.Logger) error {
	if c.Listen == nil {
		for _, e := range a.elders {
			e.Close()
		}
		a.elders = nil
		return nil
	}
	o := radius.DynamicOptions{
		Listen: *c.Listen, Clients: map[netip.Addr][]byte{}, Identity: identity,
		WithoutTimestamp: c.WithoutTimestamp, Registry: a.registry, Log: log, Elders: a.elders,
		Changed: func(changed []*subscribers.Account) {
			for _, one := range changed {
				server.Reconsider(one)
			}
		},
	}
	for _, client := range c.Clients {
		key, err := client.Key()
		if err != nil {
			return err
		}
		o.Clients[client.Address.Unmap()] = []byte(key)
	}
	var err error
	a.dynamic, err = radius.NewDynamic(o)
	return err
}

// join makes the listeners of a setup ask whose their connections are.
func (a *aaa) join(s *setup) {
	s.registry = a.registry
	for i, l := range s.listeners {
		if m := s.config.Listeners[i].Subscribers; m != config.MembersOff {
			l.Subscribers, l.SubscribersOnly = a.registry, m == config.MembersRequired
		}
	}
}

// apply puts who subscribers are, and their policies, into force, and says what
// waits.
func (a *aaa) apply(s *setup) (late string) {
	a.registry.Replace(s.directory)
	before, now := a.config, s.config.Subscribers
	for _, s := range []*config.Subscribers{&before, &now} {
		s.List, s.Policies, s.DefaultPolicy = nil, nil, ""
	}
	if !reflect.DeepEqual(before, now) {
		return "linger, quota-file, quota-flush and radius of subscribers change when tandem is started again"
	}
	return ""
}

// leave leaves requests to change sessions to a successor, which passes them on: the
// kernel would go on to give this process some of them, about sessions that only the
// other one has.
func (a *aaa) leave(successor *net.UnixConn) {
	if a.dynamic == nil {
		successor.Close() // which takes it for ended
		return
	}
	a.dynamic.Leave(successor)
}

// stop ends all sessions, and says so to those who account for them. The proxy
// has ended.
func (a *aaa) stop(log *slog.Logger) {
	if a.dynamic != nil {
		a.dynamic.Close()
	}
	if a.registry != nil {
		a.registry.Close()
	}
	if a.accounting == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastRecords)
	defer cancel()
	if lost := a.accounting.Close(ctx); lost > 0 {
		log.Warn("accounting records were lost", "records", lost)
	}
}

// members are the passwords of subscribers. It implements socks.Verifier for
// listeners that are made before their setup is put into force.
type members struct{ *setup }

// Known implements socks.Verifier.
func (m members) Known(user, password string) (right, known bool) {
	return m.registry.Known(user, password)
}

// Verify implements socks.Verifier.
func (m members) Verify(ctx context.Context, user, password string) (bool, error) {
	return m.registry.Verify(ctx, user, password)
}

// Valid implements socks.Verifier.
func (m members) Valid(user, password string) bool { return m.registry.Valid(user, password) }

func directory(c *config.Subscribers) (*subscribers.Directory, error) {
	d := subscribers.DirectoryConfig{Policies: map[string]subscribers.Policy{}}
	for i := range c.Policies {
		p, err := subscriberPolicy(&c.Policies[i])
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", c.Policies[i].Name, err)
		}
		d.Policies[c.Policies[i].Name] = p
	}
	d.Default, d.DefaultName = d.Policies[c.DefaultPolicy], c.DefaultPolicy
	for i := range c.List {
		known, err := c.List[i].Known()
		if err != nil {
			return nil, fmt.Errorf("subscriber %s: %w", c.List[i].Name, err)
		}
		d.Subscribers = append(d.Subscribers, known)
	}
	return subscribers.NewDirectory(d)
}

func subscriberPolicy(c *config.SubscriberPolicy) (subscribers.Policy, error) {
	p := subscribers.Policy{
		Connections: c.Connections, NewPerSecond: c.NewPerSecond, Burst: c.Burst,
		Up: bytesPerSecond(c.RateUp), Down: bytesPerSecond(c.RateDown),
		Quota:   subscribers.Quota{Bytes: uint64(c.Quota.Size), Reduced: bytesPerSecond(c.Quota.ReducedRate)},
		Options: c.Options.Defaults.Set(), Caps: c.Options.Bounds(),
		Lifetime: c.Lifetime, Idle: c.Idle,
	}
	var err error
	if p.Quota.Period, err = subscribers.ParsePeriod(string(c.Quota.Period)); err != nil {
		return p, err
	}
	if d := c.Destinations; d != nil {
		p.Destinations, err = policy.NewDestinations(policy.DestinationsConfig{
			Allow: d.Allow, Deny: d.Deny, Only: d.Only, AllowPrivate: d.AllowPrivate,
		})
	}
	return p, err
}

func bytesPerSecond(r config.Rate) uint64 { return uint64(r) / 8 }

func away(w config.WhenAway) subscribers.Away {
	switch w {
	case config.AwayCached:
		return subscribers.Cached
	case config.AwayAllow:
		return subscribers.Allow
	}
	return subscribers.Refuse
}

func radiusServers(list []config.RADIUSServer) ([]radius.Server, error) {
	var servers []radius.Server
	for _, s := range list {
		key, err := s.Key()
		if err != nil {
			return nil, err
		}
		servers = append(servers, radius.Server{Address: s.Address.String(), Secret: []byte(key)})
	}
	return servers, nil
}
