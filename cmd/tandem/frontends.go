// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func (s *setup) socksFront(c *config.Listener) (proxy.FrontEnd, error) {
	o := &socks.Config{Bind: c.SOCKS5.Bind, UDP: c.SOCKS5.UDP}
	if len(c.SOCKS5.Users) > 0 {
		passwords := map[string]string{}
		for _, u := range c.SOCKS5.Users {
			secret, err := u.Secret()
			if err != nil {
				return nil, err
			}
			passwords[u.Name] = secret
		}
		o.Users = socks.NewCredentials(passwords)
	}
	return proxy.NewSOCKS(socks.NewServer(o)), nil
}

func (s *setup) convertFront(c *config.Listener) (proxy.FrontEnd, error) {
	return nil, nil
}
