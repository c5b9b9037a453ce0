// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// Ask brings a request that came on a connection with a client after it was
// accepted, in a TCP option. answer is called, on an event loop, with what the
// client gets of it; not at all if there is no such connection. It does not
// block.
func (s *Server) Ask(token uint32, r options.Request, answer func(granted options.Set)) {
	for _, w := range s.workers {
		// A loop that has ended has no connections.
		_ = w.loop.Post(func() {
			if x := w.tokens[token]; x != nil && token == x.clientMPTCP.Token {
				x.ask(r, answer)
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
			if x := w.tokens[token]; x != nil && token == x.serverMPTCP.Token && x.choices != nil {
				x.choices.hop.answered(o, granted)
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
	s.giveUp(relay.Server, s.serverMPTCP)
	if t := s.worker.server.opts.Tuner; choice.By == options.FromTCPOption && t != nil && s.serverMPTCP.MPTCP {
		s.worker.tokens[s.serverMPTCP.Token] = s
		t.Ask(s.serverMPTCP.Token, choice.Asked)
	}
}

// Clients may ask as often as askGap later on, and askBurst times at once:
// each change has to be brought to all subflows.
const (
	askGap   = 100 * time.Millisecond
	askBurst = 2 * time.Duration(options.Count)
)

// mayAsk reports whether the client does not ask too often.
func (s *session) mayAsk() bool {
	c, now := s.chosen(), s.worker.age()
	if c.asks = max(c.asks, now); c.asks > now+(askBurst-1)*askGap {
		return false
	}
	c.asks += askGap
	return true
}

// ask takes a later request of the client. One that comes again, since it was
// not answered yet, is only answered.
func (s *session) ask(r options.Request, answer func(options.Set)) {
	if s.phase != relaying {
		return // it will come again
	}
	reply := func() {
		granted := s.choices.grants.ToClient()
		for o := range granted.All() {
			if !r.Set.Has(o) {
				granted = granted.Without(o)
			}
		}
		answer(granted)
	}
	if !s.mayAsk() {
		outcomes := &s.counters.options.outcomes
		for o := range r.Set.All() {
			outcomes[o][options.TooOften].Add(1)
		}
		if r.Set.Empty() {
			outcomes[0][options.TooOften].Add(1)
		}
		return
	}
	c := s.choices
	if len(r.Bad) == 0 && c.layers.Asked(&r) {
		s.whenApplied(reply)
		return
	}
	if len(c.layers.Client) == 0 {
		s.counters.options.connections.Add(1)
	}
	c.untold.Add(&r)
	done := func() {
		s.tell()
		reply()
	}
	if r.Set.Empty() {
		// Mistakes change nothing.
		c.layers.Ask(r)
		c.grants.Mistakes(&c.layers)
		s.whenApplied(done)
		return
	}
	_ = s.change(func(l *options.Layers) { l.Ask(r) }, done)
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
	s.whenApplied(done)
	return nil
}
