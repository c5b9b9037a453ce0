// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/doctor"
	"github.com/tandem-gateway/tandem/proxy/tproxy"
)

// returnRouteTimeout is how long answers to a client's address may take.
const returnRouteTimeout = 5 * time.Second

// checkPools warns of source addresses that servers' answers do not come back to.
func (s *setup) checkPools() {
	for _, u := range s.upstreams {
		if u.config.Type != config.UpstreamDirect || u.config.Direct.Source != config.SourcePool {
			continue
		}
		for _, a := range u.config.Direct.Pool {
			if !doctor.Delivered(a) {
				s.log.Warn("servers cannot answer to an address of the pool: packets to it are not delivered here",
					"upstream", u.config.Name, "address", a, "command", fmt.Sprintf("ip route add local %v dev lo", a))
			}
		}
	}
}

// checkReturnRoutes warns when answers to the addresses of clients would not
// come back here, though servers are to see them. It ends with ctx.
func (s *setup) checkReturnRoutes(ctx context.Context, rules *tproxy.Interceptor) {
	for i := range s.config.Listeners {
		l := &s.config.Listeners[i]
		u := s.upstreams[l.Upstream].config
		if u.Type != config.UpstreamDirect || u.Direct.Source != config.SourceClient {
			continue
		}
		for _, prefix := range l.AllowFrom {
			client := prefix.Masked().Addr()
			if client.IsUnspecified() {
				continue // everybody: no address to try
			}
			if err := rules.CheckDelivery(client); err != nil {
				s.log.Warn("servers cannot answer to addresses of clients", "listener", l.Name, "upstream", u.Name, "err", err)
				continue
			}
			for _, server := range u.Direct.CheckServers {
				if server.Addr().Unmap().Is4() == client.Is4() {
					s.checkReturnRoute(ctx, rules, u.Name, client, server)
				}
			}
		}
	}
}

func (s *setup) checkReturnRoute(ctx context.Context, rules *tproxy.Interceptor, upstream string, client netip.Addr, server netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, returnRouteTimeout)
	defer cancel()
	if err := rules.CheckReturnRoute(ctx, client, server); err != nil {
		s.log.Warn("a server does not answer to the address of a client", "upstream", upstream, "err", err)
		return
	}
	s.log.Info("servers can answer to the addresses of clients", "upstream", upstream, "client", client, "server", server)
}
