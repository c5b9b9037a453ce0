// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func (s *setup) socksFront(c *config.Listener) (proxy.FrontEnd, error) {
	o := &socks.Config{Bind: c.SOCKS5.Bind, UDP: c.SOCKS5.UDP, AnyUser: c.Options.Accepts(options.FromSOCKS)}
	users, err := c.SOCKS5.Credentials()
	if err != nil {
		return nil, err
	}
	switch {
	case users != nil:
		o.Users = users
	case c.Subscribers == config.MembersRequired:
		o.Users = members{s}
	}
	return proxy.NewSOCKS(socks.NewServer(o)), nil
}

func (s *setup) convertFront(c *config.Listener) (proxy.FrontEnd, error) {
	o := converter.ServerConfig{
		AllowLoopback: c.Convert.AllowLoopback,
		Supported:     proxy.ConvertOptions(),
		HideSYNACK:    !c.Convert.ExtendedHeader,
		Redundancy:    c.Convert.Redundant,
		Choices:       c.Options.Accepts(options.FromConvert),
	}
	if c.Convert.Cookies == config.CookiesRequired {
		var secret []byte
		if c.Convert.CookieKeyFile != "" {
			text, err := config.ReadSecret(c.Convert.CookieKeyFile)
			if err != nil {
				return nil, err
			}
			secret = []byte(text)
		}
		var err error
		if o.Cookies, err = converter.NewCookieJar(secret, c.Convert.CookieLifetime); err != nil {
			return nil, fmt.Errorf("cookies: %w", err)
		}
	}
	return proxy.NewConvertFront(converter.NewServer(o)), nil
}
