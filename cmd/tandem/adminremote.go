// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
)

// remote is where operators are answered over TCP.
type remote struct {
	access    admin.Access     // set by open alone: what is served reads it
	wanted    []netip.AddrPort // not listened at yet
	listeners []remoteListener
	served    int   // of listeners
	missing   error // why there is none where one was to be
}

// remoteListener listens at an address as it is configured, whose port may be 0.
type remoteListener struct {
	*net.TCPListener
	address netip.AddrPort
}

// open opens the addresses, or takes them from a predecessor. Those that it does
// not leave, because it is older or has them not, are for claim. Everything else
// works without.
func (r *remote) open(c *config.Admin, left *estate, log *slog.Logger) {
	if len(c.Listen) == 0 {
		return
	}
	if r.missing = r.admit(c); r.missing == nil {
		r.wanted = slices.Clone(c.Listen)
		r.missing = r.bind(left)
	}
	r.complain(log)
}

// claim opens what a predecessor that has let go did not leave.
func (r *remote) claim(log *slog.Logger) {
	if len(r.wanted) > 0 {
		r.missing = r.bind(nil)
		r.complain(log)
	}
}

func (r *remote) complain(log *slog.Logger) {
	if r.missing != nil {
		log.Warn("operators cannot reach this tandem over TCP", "err", r.missing)
	}
}

// admit reads who has access.
func (r *remote) admit(c *config.Admin) error {
	token, err := c.Token()
	if err != nil {
		return err
	}
	r.access = admin.Access{Token: token, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ClientCAFile: c.TLS.ClientCAFile}
	if err := r.access.Validate(); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// bind has listeners at what is wanted, but for what a predecessor may hold.
func (r *remote) bind(left *estate) error {
	var later []netip.AddrPort
	for i, address := range r.wanted {
		l, err := r.listen(address, left)
		if err != nil {
			r.wanted = slices.Concat(later, r.wanted[i:])
			return err
		}
		if l == nil {
			later = append(later, address)
			continue
		}
		r.listeners = append(r.listeners, remoteListener{l, address})
	}
	r.wanted = later
	return nil
}

// listen returns nil for what a predecessor may hold and does not leave.
func (r *remote) listen(address netip.AddrPort, left *estate) (*net.TCPListener, error) {
	if !left.succeeds() {
		return admin.ListenTCP(address, &r.access)
	}
	for _, s := range left.Remote {
		if s.Address == address {
			if err := r.access.Covers(address); err != nil {
				return nil, err
			}
			return adopt(s.FD)
		}
	}
	return nil, nil
}

// serve answers until s is closed, on those listeners that are not served yet.
func (r *remote) serve(s *admin.Server, serving *sync.WaitGroup, log *slog.Logger) {
	for _, l := range r.listeners[r.served:] {
		serving.Go(func() {
			if err := s.ServeTCP(l, &r.access); err != nil && !errors.Is(err, net.ErrClosed) {
				log.Error("operators cannot reach this tandem over TCP any more", "address", l.Addr(), "err", err)
			}
		})
	}
	r.served = len(r.listeners)
}

// sockets are what a successor gets.
func (r *remote) sockets() []tcpSocket {
	var all []tcpSocket
	for _, l := range r.listeners {
		all = append(all, tcpSocket{l.address, descriptor(l)})
	}
	return all
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
