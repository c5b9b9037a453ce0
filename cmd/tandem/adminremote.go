// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
)

// remote is where operators are answered over TCP.
type remote struct {
	access    admin.Access
	listeners []net.Listener
	missing   error // why there is none where one was to be
}

// open opens the addresses. Everything else works without.
func (r *remote) open(c *config.Admin, log *slog.Logger) {
	if len(c.Listen) == 0 {
		return
	}
	if r.missing = r.bind(c); r.missing != nil {
		log.Warn("operators cannot reach this tandem over TCP", "err", r.missing)
	}
}

func (r *remote) bind(c *config.Admin) error {
	token, err := c.Token()
	if err != nil {
		return err
	}
	r.access = admin.Access{Token: token, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ClientCAFile: c.TLS.ClientCAFile}
	if err := r.access.Validate(); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	for _, address := range c.Listen {
		l, err := admin.ListenTCP(address, &r.access)
		if err != nil {
			return err
		}
		r.listeners = append(r.listeners, l)
	}
	return nil
}

// serve answers until s is closed.
func (r *remote) serve(s *admin.Server, serving *sync.WaitGroup, log *slog.Logger) {
	for _, l := range r.listeners {
		serving.Go(func() {
			if err := s.ServeTCP(l, &r.access); err != nil && !errors.Is(err, net.ErrClosed) {
				log.Error("operators cannot reach this tandem over TCP any more", "address", l.Addr(), "err", err)
			}
		})
	}
}

// describe says where that is, "" if nowhere.
func (r *remote) describe() string {
	scheme := "http"
	if r.access.CertFile != "" {
		scheme = "https"
	}
	var parts []string
	for _, l := range r.listeners {
		parts = append(parts, scheme+"://"+l.Addr().String()+"/")
	}
	if r.missing != nil {
		parts = append(parts, "no: "+r.missing.Error())
	}
	return strings.Join(parts, ", ")
}
