// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net/netip"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/subscribers"
)

// belong finds out whose a connection is and counts it as theirs. It reports
// false where the session goes on later, or has been refused.
func (s *session) belong(r *Request) bool {
	registry := s.listener.Subscribers
	if registry == nil || s.opening.refusal != nil || r.Command == Inform {
		return true
	}
	account, err := registry.Admit(r.User, s.client.Addr(), s.worker.loop.Now())
	if errors.Is(err, subscribers.ErrAsk) {
		s.find(r)
		return false
	}
	if err != nil {
		return s.nobodys(err)
	}
	s.account = account
	s.rename(naming{user: account.Name, host: s.name().host})
	return true
}

// nobodys reports whether a connection may go on that is not a subscriber's, or
// not for now.
func (s *session) nobodys(err error) bool {
	if errors.Is(err, subscribers.ErrNobody) && !s.listener.SubscribersOnly {
		return true
	}
	s.fail(err)
	return false
}

// find asks, outside of the loop, whose the client's address is. The deadline of
// the handshake stays in force.
func (s *session) find(r *Request) {
	registry, client := s.listener.Subscribers, s.client.Addr()
	s.phase = authorising
	s.mark(authorisingBegan)
	s.spawn(func(ctx context.Context, post func(func(wanted bool))) {
		err := registry.Find(ctx, client)
		post(func(wanted bool) {
			if !wanted {
				return
			}
			s.opening.task = nil
			if err == nil && s.belong(r) || err != nil && s.nobodys(err) {
				s.proceed(r)
			}
		})
	})
}

// check is what policy has to say of a destination.
func (s *session) check(dst netip.AddrPort) error {
	if d := s.listener.Destinations; d != nil {
		if err := d.Check(dst); err != nil {
			return err
		}
	}
	if s.account != nil {
		return s.account.Check(dst)
	}
	return nil
}

// KickAccount ends the connections of a subscriber with a reset on both legs, and
// returns how many there were.
func (s *Server) KickAccount(a *subscribers.Account) int {
	n := 0
	for i := range s.workers {
		for range s.walk(i, func(x *session) {
			if x.account == a {
				x.abort(ErrKicked)
				n++
			}
		}) {
		}
	}
	return n
}

// Reconsider decides anew on the options of a subscriber's connections that are
// relayed.
func (s *Server) Reconsider(a *subscribers.Account) {
	for i := range s.workers {
		for range s.walk(i, func(x *session) {
			if x.account == a {
				_ = x.change(func(*options.Layers) {}, func() {}) // those that are not relayed yet stay as they are
			}
		}) {
		}
	}
}
