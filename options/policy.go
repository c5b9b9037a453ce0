// SPDX-License-Identifier: Apache-2.0

package options

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Policy is what a listener does with options. The zero value honours no
// client's request and changes nothing.
type Policy struct {
	// Defaults are the values where nobody asks for others.
	Defaults Set
	// Accept are the ways in which clients may ask.
	Accept []Source
	// From are the prefixes of clients that may ask; none: all that are served.
	From []netip.Prefix
	// Caps bound what a client may ask for.
	Caps Caps
}

// Caps bound what clients may ask for. The operator's own choices are not
// bound by them.
type Caps struct {
	// Forbid are the options that clients have no say in.
	Forbid []Option
	// Max are the greatest values. An option that is not there is not capped,
	// but for those in SafeMax.
	Max Set
	// CongestionControls are those that may be chosen; none: all.
	CongestionControls []string
	// Trusted are the prefixes of clients whose initial-window is honoured;
	// none: nobody's. In a SYN it never is, because its source may be forged.
	Trusted []netip.Prefix
}

// SafeMax is what bounds clients where Caps.Max does not: values that let one
// client hold resources for long, or send much before it is known that anybody
// wants it.
var SafeMax = func() Set {
	s, err := ParseSet("inactivity-timeout=2h;initial-window=32;user-timeout=1h")
	if err != nil {
		panic(err) // a constant of the program
	}
	return s
}()

// Layers are the choices for one connection, the weakest first. Listener
// defaults, weaker still, are in the Policy.
type Layers struct {
	Subscriber Set
	// Own are the subscriber's caps, which narrow those of the listener; nil:
	// none. Trusted does not count.
	Own      *Caps
	Client   []Request // at most one of each source, the first one first
	Operator Set
}

// Ask adds a request of the client. What it has asked for before the same way
// stays asked for; its first mistakes are kept.
func (l *Layers) Ask(r Request) {
	for i := range l.Client {
		if before := &l.Client[i]; before.From == r.From {
			before.Add(&r)
			return
		}
	}
	l.Client = append(l.Client, r)
}

// Asked reports whether all that r asks for is asked for the same way already.
func (l *Layers) Asked(r *Request) bool {
	for i := range l.Client {
		if before := &l.Client[i]; before.From == r.From {
			return r.Set.Over(before.Set) == before.Set
		}
	}
	return false
}

// Grant returns what is granted to a client, and why. It has an entry for each
// option that somebody chose, in the order of the options.
func (p *Policy) Grant(client netip.Addr, l *Layers) Grants {
	var g Grants
	g.Mistakes(l)
	for o := range All() {
		if one, chosen := p.grant(o, client, l); chosen {
			g.List = append(g.List, one)
		}
	}
	return g
}

// grant decides on one option.
func (p *Policy) grant(o Option, client netip.Addr, l *Layers) (g Grant, chosen bool) {
	g = Grant{Option: o, Granted: o.Default(), From: FromKernel}
	choose := func(v Value, from Source, why Why) {
		g.Granted, g.From, g.Why, chosen = v, from, why, true
	}
	if v, ok := p.Defaults.Value(o); ok {
		choose(v, FromListener, ByDefault)
	}
	if v, ok := l.Subscriber.Value(o); ok {
		choose(v, FromSubscriber, ByDefault)
	}
	unbound := g.Granted == o.Default()
	for i := range l.Client {
		r := &l.Client[i]
		v, ok := r.Set.Value(o)
		if !ok {
			continue
		}
		g.Asked, g.ByClient, chosen = v, true, true
		granted, why, detail := p.cap(o, v, client, r.From, l.Own)
		if why == Capped && unbound && takesBack(o, v) {
			granted, why, detail = v, AsAsked, ""
		}
		if g.Why, g.Detail = why, detail; !why.Refused() {
			choose(granted, r.From, why)
		}
	}
	if v, ok := l.Operator.Value(o); ok {
		choose(v, FromOperator, AsAsked)
		g.Detail = ""
	}
	if !chosen {
		return g, false
	}
	if floor := table[o].floor; floor != nil {
		if v := floor(g.Granted); v != g.Granted {
			g.Granted, g.Why = v, Raised
			g.Detail = "less would stall the connection"
		}
	}
	return g, true
}

// takesBack reports whether a client asks for no more than it has that does not ask
// at all, where nobody else chose for it.
func takesBack(o Option, v Value) bool {
	return v == o.Default() || o == SubflowRateLimit && v.RateLimit().Unlimited
}

// refuses says why a client has no say at all, or "".
func (p *Policy) refuses(client netip.Addr, from Source) string {
	way := from
	if from == FromSYN {
		way = FromTCPOption
	}
	switch {
	case !slices.Contains(p.Accept, way):
		return fmt.Sprintf("this listener takes no options by %s", way)
	case len(p.From) > 0 && !within(p.From, client):
		return "the client's address may not ask for options"
	}
	return ""
}

// cap decides on what a client asks.
func (p *Policy) cap(o Option, v Value, client netip.Addr, from Source, own *Caps) (Value, Why, string) {
	switch refused := p.refuses(client, from); {
	case refused != "":
		return v, Forbidden, refused
	case slices.Contains(p.Caps.Forbid, o):
		return v, Forbidden, "forbidden by the operator"
	case own != nil && slices.Contains(own.Forbid, o):
		return v, Forbidden, "forbidden by the subscriber's policy"
	case o == InitialWindow && from == FromSYN:
		return v, Untrusted, "the source of a SYN may be forged"
	case o == InitialWindow && !within(p.Caps.Trusted, client):
		return v, Untrusted, "the client's address is not trusted with it"
	case o == CongestionControl && !p.Caps.allow(v):
		return v, Forbidden, "allowed are " + strings.Join(p.Caps.CongestionControls, ", ")
	case o == CongestionControl && own != nil && !own.allow(v):
		return v, Forbidden, "the subscriber's policy allows " + strings.Join(own.CongestionControls, ", ")
	case o == SubflowRateLimit && closesEveryPath(v) && from != FromTCPOption:
		return v, OutOfRange, "0 closes one path: say which, as in 2:0"
	}
	granted, limit := p.Caps.Max.Over(SafeMax).atMost(o, v)
	if own != nil {
		if narrower, least := own.Max.atMost(o, granted); narrower != granted {
			granted, limit = narrower, least
		}
	}
	if granted != v {
		return granted, Capped, "at most " + o.Text(limit)
	}
	return v, AsAsked, ""
}

// allow reports whether a congestion control may be chosen. The kernel's own
// always may.
func (c *Caps) allow(control Value) bool {
	return len(c.CongestionControls) == 0 || control == CongestionControl.Default() ||
		slices.Contains(c.CongestionControls, control.CongestionControl())
}

// atMost is a value of an option within the greatest ones, and the one of these
// that it is held against.
func (s Set) atMost(o Option, v Value) (granted, limit Value) {
	limit, capped := s.Value(o)
	if !capped || !o.Capped() {
		return v, limit
	}
	return table[o].atMost(v, limit), limit
}

// closesEveryPath reports whether a limit is 0 and names no path.
func closesEveryPath(v Value) bool {
	l := v.RateLimit()
	return l.Path == 0 && l.Rate == 0 && !l.Unlimited
}

// CheckOwn says what is wrong with a choice of the operator, in a configuration
// or for a live connection: what would stall or close every path.
func CheckOwn(s Set) error {
	v, ok := s.Value(SubflowRateLimit)
	switch {
	case !ok:
	case closesEveryPath(v):
		return fmt.Errorf("%s: %w: 0 closes one path: say which, as in 2:0", SubflowRateLimit, ErrRange)
	case rateLimit.floor(v) != v:
		return fmt.Errorf("%s: %w: want at least 64kbit; less would stall the connection", SubflowRateLimit, ErrRange)
	}
	return nil
}

func within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}
