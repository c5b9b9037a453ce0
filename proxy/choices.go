// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy/relay"
)

// Tuner puts options of MPTCP connections into force. Its methods are called on
// event loops and must not block.
type Tuner interface {
	// Supports returns those of a set that cannot be put into force here at
	// all, with the reason.
	Supports(options.Set) []options.Reason
	// Apply puts a set into force on the connection with a token, instead of
	// the one before. done is called once, from any goroutine, with what could
	// not be. The set ends with the connection.
	Apply(token uint32, s options.Set, done func(failed []options.Reason))
	// Ask asks the peer of a connection for a set, in TCP options. What it
	// answers is for Server.Answered.
	Ask(token uint32, s options.Set)
}

// Why options are not supported.
var (
	errNoTuner = errors.New("needs eBPF, which this gateway does not have")
	errNoMPTCP = errors.New("no leg of the connection uses MPTCP")
)

// choices are the options of a session, if anybody chose some.
type choices struct {
	layers   options.Layers
	grants   options.Grants
	hop      *HopChoice      // nil if nothing was asked of the hop
	timeouts relay.Timeouts  // in force if an inactivity-timeout is
	control  [2]string       // congestion control of a leg before a socket option chose another
	applied  bool            // the Tuner was given a set
	gaveUp   [2]bool         // paths of a leg
	pending  int             // sets that the Tuner has not answered for
	decision int             // number of the last one
	waiting  []func()        // called when nothing is pending
	untold   options.Request // what the client asked for that is not counted yet
	told     bool            // in the log
	asks     time.Duration   // until when requests of the client are used up: see mayAsk
}

// byTuner is what only the Tuner can do: the timeout is the session's, and a
// socket option can choose the congestion control.
func byTuner(s options.Set) options.Set {
	return s.Effective().Without(options.InactivityTimeout).Without(options.CongestionControl)
}

// chosen are the choices of a session that has some.
func (s *session) chosen() *choices {
	if s.choices == nil {
		s.choices = new(choices)
		s.choices.timeouts = s.listener.Timeouts.Relay
	}
	return s.choices
}

// choose takes what listener, subscriber and client have chosen.
func (s *session) choose(r *Request) {
	if s.listener.Options.Defaults.Empty() && s.subscribed().Empty() && r.Asked.Empty() {
		return
	}
	c := s.chosen()
	if !r.Asked.Empty() {
		c.layers.Ask(r.Asked)
	}
	s.decide()
	s.tune(relay.Client, s.clientMPTCP)
	if s.keeps() > 0 {
		s.adopt(s.clientMPTCP, s.listener.ClientPaths, false)
	}
}

// subscribed are the options that the subscriber has.
func (s *session) subscribed() options.Set {
	if s.account == nil {
		return options.Set{}
	}
	return s.account.Options()
}

// decide says anew what is granted.
func (s *session) decide() {
	c := s.choices
	c.layers.Subscriber = s.subscribed()
	if s.account != nil {
		c.layers.Own = s.account.Caps()
	}
	c.decision++
	c.grants = s.listener.Options.Grant(s.client.Addr(), &c.layers)
	set := c.grants.Granted()
	c.grants.Apply(s.worker.server.unsupported(byTuner(set)))
	c.timeouts = s.listener.Timeouts.Relay
	if v, ok := set.Effective().Value(options.InactivityTimeout); ok {
		c.timeouts.Idle = v.InactivityTimeout()
	}
}

// unsupported returns those of a set that no leg can have.
func (s *Server) unsupported(set options.Set) (list []options.Reason) {
	if tuner := s.opts.Tuner; tuner != nil {
		return tuner.Supports(set)
	}
	for o := range set.All() {
		list = append(list, options.Reason{Option: o, Err: errNoTuner})
	}
	return list
}

// tune puts what is granted into force on a leg.
func (s *session) tune(end int, status mptcp.Status) {
	s.giveUp(end, status)
	c := s.choices
	if c == nil {
		return
	}
	tuner := s.worker.server.opts.Tuner
	set := c.grants.Granted().Effective()
	mine := byTuner(set)
	if v, ok := set.Value(options.CongestionControl); ok && tuner != nil && status.MPTCP {
		failed := tuner.Supports(alone(options.CongestionControl, v))
		switch {
		case len(failed) == 0:
			// The Tuner's own congestion control wraps the one that is chosen.
			mine, _ = mine.With(options.CongestionControl, v)
			set = set.Without(options.CongestionControl)
		case !mine.Empty():
			// The socket option would take the other options out of force.
			c.grants.Apply(failed)
			set = set.Without(options.CongestionControl)
		}
	}
	if err := s.control(end, set); err != nil {
		c.grants.Apply([]options.Reason{{Option: options.CongestionControl, Err: err}})
	}
	if tuner == nil || !status.MPTCP || mine.Empty() && !c.applied {
		return
	}
	c.applied = true
	c.pending++
	decision := c.decision
	tuner.Apply(status.Token, mine, func(failed []options.Reason) {
		_ = s.worker.loop.Post(func() { c.tuned(decision, failed) }) // else everything has ended
	})
}

// alone is a set of one option.
func alone(o options.Option, v options.Value) options.Set {
	s, _ := options.Set{}.With(o, v)
	return s
}

// control chooses the congestion control of a leg by socket option, or takes
// that back.
func (s *session) control(end int, set options.Set) error {
	fd, original := s.pair.Ends[end].FD, &s.choices.control[end]
	v, chosen := set.Value(options.CongestionControl)
	if !chosen && *original == "" {
		return nil
	}
	name := v.CongestionControl()
	if !chosen {
		name, *original = *original, ""
	} else if *original == "" {
		*original, _ = unix.GetsockoptString(fd, unix.SOL_TCP, unix.TCP_CONGESTION)
	}
	switch err := unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_CONGESTION, name); {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("this kernel does not have %s", name)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("net.ipv4.tcp_allowed_congestion_control does not allow %s", name)
	default:
		return err
	}
}

// tuned hears from the Tuner.
func (c *choices) tuned(decision int, failed []options.Reason) {
	c.pending--
	if decision == c.decision {
		c.grants.Apply(failed)
	}
	if c.pending == 0 {
		waiting := c.waiting
		c.waiting = nil // they may have others wait
		for _, f := range waiting {
			f()
		}
	}
}

// settleChoices is called when both legs are known. It tells of what was
// granted, once.
func (s *session) settleChoices() (granted options.Set) {
	c := s.choices
	if c == nil {
		return options.Set{}
	}
	s.needMPTCP()
	if asked := len(c.layers.Client) > 0; asked {
		s.counters.options.connections.Add(1)
		c.untold = c.layers.Client[0]
		s.whenApplied(s.tell)
	}
	return c.grants.ToClient()
}

// holdsBack reports whether nothing may be said to the client yet: an initial
// window counts only for who has sent nothing.
func (s *session) holdsBack() bool {
	c := s.choices
	return c != nil && c.pending > 0 && c.grants.Granted().Effective().Has(options.InitialWindow)
}

// whenApplied calls f once the Tuner has answered for all sets.
func (s *session) whenApplied(f func()) {
	if c := s.choices; c.pending > 0 {
		c.waiting = append(slices.Clip(c.waiting), f)
		return
	}
	f()
}

// tell counts what became of what the client has asked for since it last did,
// and tells of it in the log, once for a connection.
func (s *session) tell() {
	c := s.choices
	r := c.untold
	c.untold = options.Request{}
	if r.Empty() {
		return
	}
	outcomes := &s.counters.options.outcomes
	for i := range c.grants.List {
		if g := &c.grants.List[i]; g.ByClient && r.Set.Has(g.Option) {
			outcomes[g.Option][g.Why].Add(1)
		}
	}
	for _, b := range r.Bad {
		outcomes[b.Option][b.Why].Add(1)
	}
	outcomes[0][options.Malformed].Add(uint64(r.More))
	if c.told {
		return
	}
	level := slog.LevelDebug
	if refused, changed := c.grants.Refused(); refused+changed > 0 {
		level, c.told = slog.LevelInfo, true
	}
	s.logChoices(level, "options of a connection")
}

// needMPTCP takes back what only MPTCP connections can have if there is none.
func (s *session) needMPTCP() {
	if s.clientMPTCP.MPTCP || s.serverMPTCP.MPTCP {
		return
	}
	var list []options.Reason
	for o := range byTuner(s.choices.grants.Granted()).All() {
		list = append(list, options.Reason{Option: o, Err: errNoMPTCP})
	}
	s.choices.grants.Apply(list)
}

func (s *session) logChoices(level slog.Level, what string) {
	ctx, log := context.Background(), s.worker.server.log
	if log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, what, slog.String("listener", s.listener.Name), slog.Any("client", s.client),
			slog.String("user", s.name().user), slog.String("options", s.choices.grants.String()))
	}
}

// timeouts are those of the relay.
func (s *session) timeouts() *relay.Timeouts {
	if s.choices != nil {
		return &s.choices.timeouts
	}
	return &s.listener.Timeouts.Relay
}

// keeping is a policy of paths with the inactivity-timeout in force.
func (s *session) keeping(p *paths.Policy) *paths.Policy {
	d := s.keeps()
	if d <= 0 {
		return p
	}
	own := *p
	own.Keep = d
	return &own
}

// keeps is the inactivity-timeout in force, or 0.
func (s *session) keeps() time.Duration {
	if s.choices == nil {
		return 0
	}
	v, _ := s.choices.grants.Granted().Value(options.InactivityTimeout)
	return v.InactivityTimeout()
}
