// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// serverPatience is how long one of several name servers may take before the
// next one is asked.
const serverPatience = 1500 * time.Millisecond

// servers are the name servers to ask.
type servers struct {
	resolvers []*net.Resolver
	good      atomic.Uint32 // index of the one that answered last
}

func newServers(c *Config) *servers {
	d := &net.Dialer{Control: c.Control}
	// DNS over TCP is plain TCP, whatever GODEBUG or a later Go has in mind:
	// name servers gain nothing from MPTCP.
	d.SetMultipathTCP(false)
	s := &servers{}
	for _, server := range c.Servers {
		s.add(dialFunc(d, server))
	}
	if len(c.Servers) == 0 {
		s.add(dialFunc(d, netip.AddrPort{}))
	}
	return s
}

func (s *servers) add(dial func(context.Context, string, string) (net.Conn, error)) {
	// The C library's resolver would not use Dial.
	s.resolvers = append(s.resolvers, &net.Resolver{PreferGo: true, Dial: dial})
}

// lookup asks for the addresses of one family, beginning with the server that
// answered last. A server that knows that there are none is believed.
func (s *servers) lookup(ctx context.Context, f Family, name string) ([]netip.Addr, error) {
	network := "ip6"
	if f == IPv4 {
		network = "ip4"
	}
	first := s.good.Load()
	var failed error
	for i := range len(s.resolvers) {
		k := (int(first) + i) % len(s.resolvers)
		addrs, err := s.ask(ctx, s.resolvers[k], network, name, i+1 < len(s.resolvers))
		if err == nil || notFound(err) {
			if i > 0 {
				s.good.CompareAndSwap(first, uint32(k))
			}
			return addrs, err
		}
		failed = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

func (s *servers) ask(ctx context.Context, r *net.Resolver, network, name string, impatient bool) ([]netip.Addr, error) {
	if impatient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, serverPatience)
		defer cancel()
	}
	addrs, err := r.LookupNetIP(withSelf(ctx), network, name)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, err
}
