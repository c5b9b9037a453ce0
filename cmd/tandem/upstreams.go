// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy"
)

// upstream is a configured way to servers.
type upstream struct {
	proxy.Upstream
	config *config.Upstream
	pool   interface{ Run(context.Context) } // nil for type direct
}

func (s *setup) newUpstream(c *config.Upstream) (*upstream, error) {
	u := &upstream{config: c}
	switch c.Type {
	case config.UpstreamDirect:
		u.Upstream = s.direct(c)
		return u, nil
	}
	return nil, fmt.Errorf("type %q is not known", c.Type)
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
