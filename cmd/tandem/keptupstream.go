// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"reflect"

	"github.com/tandem-gateway/tandem/config"
)

// keptUpstream returns the upstream of before if there is one of the same
// configuration, so that a reload forgets neither which hops are down nor what
// was learnt of them: cookies, servers that speak MPTCP, networks that drop data
// in SYNs. Else it returns a new one.
func (s *setup) keptUpstream(c *config.Upstream, before *setup) (*upstream, error) {
	if before == nil || before.ownMark != s.ownMark {
		return s.newUpstream(c)
	}
	u := before.upstreams[c.Name]
	if u == nil || u.pool == nil || !reflect.DeepEqual(u.config, c) {
		return s.newUpstream(c)
	}
	if c.Type == config.UpstreamSOCKS5 {
		secret, err := c.SOCKS5.Secret() // of a file that may have changed
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		if secret != u.secret {
			return s.newUpstream(c)
		}
	}
	return u, nil
}
