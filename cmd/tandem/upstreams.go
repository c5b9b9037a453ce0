// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// upstream is a configured way to servers.
type upstream struct {
	proxy.Upstream
	config *config.Upstream
	pool   *proxy.Pool // nil for type direct
	secret string      // towards proxies
	paths  *paths.Policy
}

func (s *setup) newUpstream(c *config.Upstream) (*upstream, error) {
	policy, err := pathPolicy(&c.Paths)
	if err != nil {
		return nil, err
	}
	u := &upstream{config: c, paths: policy}
	switch c.Type {
	case config.UpstreamDirect:
		u.Upstream = s.direct(c)
	case config.UpstreamConvert:
		s.throughConverters(u)
	case config.UpstreamSOCKS5:
		if err := s.throughProxies(u); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("type %q is not known", c.Type)
	}
	return u, nil
}

var sourceModes = map[config.SourceAddress]proxy.SourceMode{
	config.SourceOwn:    proxy.SourceOwn,
	config.SourcePool:   proxy.SourcePool,
	config.SourceClient: proxy.SourceClient,
}

func (s *setup) direct(c *config.Upstream) *proxy.Direct {
	source := proxy.Source{Mode: sourceModes[c.Direct.Source], Pool: c.Direct.Pool}
	return proxy.NewDirect(c.Name, s.connectOptions(c), source, c.Direct.ProxyProtocol)
}

func (s *setup) connectOptions(c *config.Upstream) mptcp.ConnectOptions {
	return mptcp.ConnectOptions{Mode: c.MPTCP, FastOpen: c.FastOpen, Socket: socketOptions(&c.Socket, s.ownMark)}
}

// throughConverters makes u lead through Transport Converters, and past them
// where servers speak MPTCP themselves and that is wanted.
func (s *setup) throughConverters(u *upstream) {
	c := u.config
	var hops []*proxy.ConvertHop
	for _, server := range c.Servers {
		hops = append(hops, proxy.NewConvertHop(proxy.ConvertHopOptions{
			Name:       hopName(c, server),
			Addresses:  []netip.AddrPort{server},
			Connect:    s.connectOptions(c),
			Dialer:     converter.DialerConfig{AllowLoopback: server.Addr().IsLoopback()},
			ProbeMPTCP: c.Convert.BypassMPTCPServers,
			Ask:        c.Ask.Options.Set(),
			AskBy:      askWays[c.Ask.By],
		}))
	}
	u.pool = newPool(s, c, hops)
	u.Upstream = u.pool
	if c.Convert.Redundant {
		u.Upstream = s.redundant(c, u.pool, hops)
	}
	if c.Convert.BypassMPTCPServers {
		past := s.pastHop(c, c.Name+"/bypass")
		u.Upstream = proxy.NewBypass(u.Upstream, hops, past)
	}
}

func (s *setup) throughProxies(u *upstream) error {
	c := u.config
	password, err := c.SOCKS5.Secret()
	if err != nil {
		return err
	}
	u.secret = password
	client := socks.Client{User: c.SOCKS5.User, Password: password, Eager: c.SOCKS5.Eager}
	var hops []*proxy.SOCKSHop
	for _, server := range c.Servers {
		hops = append(hops, proxy.NewSOCKSHop(hopName(c, server), []netip.AddrPort{server}, s.connectOptions(c), client, c.Ask.Options.Set()))
	}
	u.pool = newPool(s, c, hops)
	u.Upstream = u.pool
	return nil
}

// hopName is what logs call a server of an upstream.
func hopName(c *config.Upstream, server netip.AddrPort) string { return c.Name + "/" + server.String() }

// newPool makes an upstream of the hops to its servers.
func newPool[H proxy.Checked](s *setup, c *config.Upstream, hops []H) *proxy.Pool {
	o := proxy.PoolOptions{
		Name:     c.Name,
		Interval: c.Health.Interval,
		Timeout:  c.Health.Timeout,
		Rise:     c.Health.Rise,
		Fall:     c.Health.Fall,
		Log:      s.log,
	}
	for _, h := range hops {
		o.Hops = append(o.Hops, h)
	}
	if c.WhenDown == config.GoDirect {
		o.Last = s.pastHop(c, c.Name+"/direct")
	}
	return proxy.NewPool(o)
}

// pastHop leads to servers themselves, with the sockets of an upstream that
// usually leads through others.
func (s *setup) pastHop(c *config.Upstream, name string) *proxy.Direct {
	o := s.connectOptions(c)
	o.FastOpen = false
	return proxy.NewDirect(name, o, proxy.Source{}, false)
}
