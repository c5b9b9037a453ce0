// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// Errors of Server.Choose.
var (
	ErrNoConnection = errors.New("there is no such connection")
	ErrNotServed    = errors.New("the connection is not relayed yet, or no longer")
)

// Choose lets the operator choose options of a connection that is relayed. Set
// replaces what he chose before, option by option, and clear takes options
// back, so that what listener, subscriber and client have chosen counts again.
// It returns what is in force then.
func (s *Server) Choose(ctx context.Context, id uint64, set options.Set, clear []options.Option) (*options.Grants, error) {
	if err := options.CheckOwn(set); err != nil {
		return nil, err
	}
	number, i := id/uint64(len(s.workers)), int(id%uint64(len(s.workers)))
	err := ErrNoConnection
	done := make(chan *options.Grants, 1)
	for range s.walk(i, func(x *session) {
		if uint64(x.number) == number {
			err = x.change(func(l *options.Layers) {
				l.Operator = set.Over(l.Operator)
				for _, o := range clear {
					l.Operator = l.Operator.Without(o)
				}
			}, func() {
				x.logChoices(slog.LevelInfo, "operator has changed options of a connection")
				done <- x.choices.grants.Clone()
			})
		}
	}) {
		if !errors.Is(err, ErrNoConnection) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	select {
	case g := <-done:
		return g, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, ErrShutdown
	}
}

// Ask brings a request that came on a connection with a client after it was
// accepted, in a TCP option. answer is called, on an event loop, with what the
// client gets of it; not at all if there is no such connection. It does not
// block.
func (s *Server) Ask(token uint32, r options.Request, answer func(granted options.Set)) {
	for _, w := range s.workers {
		// A loop that has ended has no connections.
		_ = w.loop.Post(func() {
			for x := w.sessions; x != nil; x = x.next {
				if x.clientMPTCP.MPTCP && x.clientMPTCP.Token == token {
					x.ask(r, answer)
					return
				}
			}
		})
	}
}

// Answered brings what the peer of a connection with a hop has answered to one
// of the options that it was asked for with Tuner.Ask. It does not block.
func (s *Server) Answered(token uint32, o options.Option, granted options.Value) {
	for _, w := range s.workers {
		// A loop that has ended has no connections.
		_ = w.loop.Post(func() {
			for x := w.sessions; x != nil; x = x.next {
				if x.serverMPTCP.MPTCP && x.serverMPTCP.Token == token && x.choices != nil {
					x.choices.hop.answered(o, granted)
					return
				}
			}
		})
	}
}

// askedHop notes what the hop was asked for, and asks it for what is to be
// asked in TCP options.
func (s *session) askedHop(c Conversation) {
	asker, ok := c.(Asker)
	if !ok {
		return
	}
	choice := asker.Choice()
	if choice == nil {
		return
	}
	s.chosen().hop = choice
	if t := s.worker.server.opts.Tuner; choice.By == options.FromTCPOption && t != nil && s.serverMPTCP.MPTCP {
		t.Ask(s.serverMPTCP.Token, choice.Asked)
	}
}

// ask takes a later request of the client.
func (s *session) ask(r options.Request, answer func(options.Set)) {
	_ = s.change(func(l *options.Layers) { l.Ask(r) }, func() {
		s.counters.options.asked.Add(1)
		granted := s.choices.grants.ToClient()
		for o := range granted.All() {
			if !r.Set.Has(o) {
				granted = granted.Without(o)
			}
		}
		answer(granted)
	})
}

// change decides anew after a change, and calls done when that is in force.
func (s *session) change(layers func(*options.Layers), done func()) error {
	if s.phase != relaying {
		return ErrNotServed
	}
	c := s.chosen()
	kept := s.keeps()
	layers(&c.layers)
	s.decide()
	s.tune(relay.Client, s.clientMPTCP)
	s.tune(relay.Server, s.serverMPTCP)
	s.needMPTCP()
	s.pair.SetTimeouts(&c.timeouts)
	if s.keeps() != kept {
		s.adopt(s.clientMPTCP, s.listener.ClientPaths, false)
		s.adopt(s.serverMPTCP, s.listener.ServerPaths, true)
	}
	if c.pending == 0 {
		done()
		return nil
	}
	c.waiting = append(slices.Clip(c.waiting), done)
	return nil
}
