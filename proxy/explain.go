// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/plural"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/subscribers"
)

// Inquiry is a connection that nobody has made.
type Inquiry struct {
	Client netip.Addr
	User   string          // who the client has shown itself to be
	Host   string          // a name, or
	Target netip.AddrPort  // the address; the port in any case
	Asked  options.Request // options that the client asks for
	// Front are the decisions of the protocol that the listener speaks, which
	// come after those on the source.
	Front []Ruling
}

// Verdict is what a Ruling says.
type Verdict uint8

// The verdicts.
const (
	Passes  Verdict = iota // goes on
	Notes                  // goes on; worth knowing
	Refuses                // is not served
	Depends                // on something that only a real connection finds out
)

func (v Verdict) String() string {
	return [...]string{"passes", "notes", "refuses", "depends"}[v]
}

// Ruling is one of the decisions on a connection.
type Ruling struct {
	Stage   string // what was decided
	Verdict Verdict
	Rule    string // which rule says so, in the words of the configuration
	Detail  string
}

// inquest decides on an Inquiry as sessions do on connections.
type inquest struct {
	*Inquiry
	server   *Server
	listener *Listener
	now      time.Time
	rulings  []Ruling
	allowed  *subscribers.Policy // nil: nobody's
	targets  []netip.AddrPort
}

// Explain says what would happen to a connection that l has accepted, and which
// rules say so, in the order in which they are asked. The first refusal is the
// last ruling. Nothing is counted, nobody is connected to, but names are looked
// up.
func (s *Server) Explain(ctx context.Context, l *Listener, q Inquiry) []Ruling {
	x := &inquest{Inquiry: &q, server: s, listener: l, now: time.Now()}
	for _, decide := range []func(context.Context) bool{
		x.source, x.limits, x.front, x.subscriber, x.target, x.destination, x.ways, x.options, x.paths,
	} {
		if !decide(ctx) {
			break
		}
	}
	return x.rulings
}

func (x *inquest) rule(stage string, v Verdict, rule, detail string) bool {
	x.rulings = append(x.rulings, Ruling{stage, v, rule, detail})
	return v != Refuses
}

func (x *inquest) source(context.Context) bool {
	if x.listener.Sources != nil {
		p, ok := x.listener.Sources.Match(x.Client)
		if !ok {
			return x.rule("source", Refuses, "allow-from", fmt.Sprintf("no prefix holds %v", x.Client))
		}
		x.rule("source", Passes, "allow-from "+p.String(), "")
	}
	if x.listener.Require {
		x.rule("source", Notes, "mptcp: require", "clients without MPTCP are refused")
	}
	return true
}

func (x *inquest) limits(context.Context) bool {
	limiter := x.server.limits.Load()
	if limiter == nil {
		return true
	}
	use, err := limiter.Would(x.Client, x.now)
	var parts []string
	of := func(n, limit int, what string) {
		if limit > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d %s", n, limit, what))
		}
	}
	of(use.Connections, use.Total, "connections")
	if use.Prefix.IsValid() {
		of(use.FromPrefix, use.PerSource, "from "+use.Prefix.String())
		of(use.Pending, use.PendingLimit, "handshakes of "+use.Prefix.String())
		if use.NewPerSecond > 0 {
			parts = append(parts, fmt.Sprintf("%g new per second from %v", use.NewPerSecond, use.Prefix))
		}
	}
	detail := strings.Join(parts, ", ")
	var refused *policy.Refused
	if errors.As(err, &refused) {
		return x.rule("limits", Refuses, "limits: "+refused.Reason.String(), detail)
	}
	return len(parts) == 0 || x.rule("limits", Passes, "limits", detail)
}

func (x *inquest) front(context.Context) bool {
	for _, r := range x.Front {
		x.rulings = append(x.rulings, r)
		if r.Verdict == Refuses {
			return false
		}
	}
	return true
}

func (x *inquest) subscriber(context.Context) bool {
	registry := x.listener.Subscribers
	if registry == nil {
		return true
	}
	m, err := registry.Explain(x.User, x.Client, x.now)
	var refused *policy.Refused
	switch {
	case errors.Is(err, subscribers.ErrAsk):
		return x.rule("subscriber", Depends, "radius.by-address", "RADIUS is asked whose the address is")
	case errors.As(err, &refused):
		return x.rule("subscriber", Refuses, "policy "+nameless(m.Policy)+": "+refused.Reason.String(), describeMember(&m))
	case err != nil && x.listener.SubscribersOnly:
		return x.rule("subscriber", Refuses, "subscribers: required", err.Error())
	case err != nil:
		return x.rule("subscriber", Passes, "subscribers: optional", "nobody's: there is no policy")
	}
	x.allowed = &m.Allowed
	return x.rule("subscriber", Passes, "policy "+nameless(m.Policy), describeMember(&m))
}

func nameless(policy string) string { return cmp.Or(policy, "(default)") }

// describeMember tells of a subscriber and what limits it.
func describeMember(m *subscribers.Membership) string {
	parts := []string{fmt.Sprintf("%s, known by %s", m.Name, m.By)}
	connections, used := 0, uint64(0)
	if m.State != nil {
		connections, used = m.State.Connections, m.State.Used
	}
	if n := m.Allowed.Connections; n > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s", connections, plural.Of(n, "connection")))
	}
	if q := m.Allowed.Quota.Bytes; q > 0 {
		text := fmt.Sprintf("%d of %d bytes per %v", used, q, m.Allowed.Quota.Period)
		if m.State == nil {
			text = fmt.Sprintf("quota of %d bytes per %v", q, m.Allowed.Quota.Period)
		} else if m.State.Over {
			text += ": used up"
		}
		parts = append(parts, text)
	}
	up, down := m.Allowed.Up, m.Allowed.Down
	if m.State != nil {
		up, down = m.State.RateUp, m.State.RateDown
	}
	if up > 0 || down > 0 {
		parts = append(parts, fmt.Sprintf("at most %s up, %s down", rateText(up), rateText(down)))
	}
	return strings.Join(parts, ", ")
}

func rateText(bytesPerSecond uint64) string {
	if bytesPerSecond == 0 {
		return "any rate"
	}
	return fmt.Sprintf("%d kbit/s", bytesPerSecond*8/1000)
}

// request is what the client would ask for.
func (x *inquest) request() *Request {
	return &Request{Host: x.Host, Target: x.Target, User: x.User, Asked: x.Asked}
}

// target resolves the name, unless the hop would.
func (x *inquest) target(ctx context.Context) bool {
	if x.Host == "" {
		x.targets = []netip.AddrPort{x.Target}
		return true
	}
	if hops := x.listener.Upstream.Hops(x.request()); len(hops) > 0 && hops[0].Resolves() {
		return x.rule("name", Notes, "upstream "+hops[0].Name(), "resolves names itself: destination rules do not see the address")
	}
	addrs, err := x.server.names.Load().Lookup(ctx, x.Host)
	if err != nil {
		return x.rule("name", Refuses, "resolver", err.Error())
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		x.targets = append(x.targets, netip.AddrPortFrom(a, x.Target.Port()))
		texts[i] = a.String()
	}
	return x.rule("name", Passes, "resolver", x.Host+" is "+strings.Join(texts, ", "))
}

func (x *inquest) destination(context.Context) bool {
	if len(x.targets) == 0 {
		return true
	}
	allowed := x.targets[:0]
	for _, t := range x.targets {
		if x.judge(t) {
			allowed = append(allowed, t)
		}
	}
	x.targets = allowed
	if len(allowed) > 0 {
		return true
	}
	// All are denied: the last ruling is what the client is told.
	x.rulings[len(x.rulings)-1].Verdict = Refuses
	return false
}

// judge asks listener and subscriber about one address.
func (x *inquest) judge(t netip.AddrPort) bool {
	ask := func(who string, d *policy.Destinations) bool {
		v := d.Decide(t)
		detail := t.String()
		if v.Embedded.IsValid() {
			detail += fmt.Sprintf(" (leads to %v)", v.Embedded)
		}
		if !v.Allowed {
			x.rule("destination", Notes, who+": "+v.Rule, "denied: "+detail)
			return false
		}
		return x.rule("destination", Passes, who+": "+v.Rule, detail)
	}
	if d := x.listener.Destinations; d != nil && !ask("listener "+x.listener.Name, d) {
		return false
	}
	return x.allowed == nil || x.allowed.Destinations == nil || ask("subscriber's policy", x.allowed.Destinations)
}

func (x *inquest) ways(context.Context) bool {
	r := x.request()
	up := false
	for _, w := range waysOf(x.listener.Upstream, r) {
		switch {
		case !w.Up:
			x.rule("upstream", Notes, w.Hop, "not used: "+w.Why)
		case up:
			x.rule("upstream", Notes, w.Hop, "if that fails; "+w.Why)
		default:
			up = true
			x.rule("upstream", Passes, w.Hop, w.Why)
		}
	}
	hops := x.listener.Upstream.Hops(r)
	if len(hops) == 0 {
		return x.rule("upstream", Refuses, "when-down: refuse", "none of the ways is up")
	}
	x.socket(hops[0], r)
	return true
}

// socket tells of the connection that the first hop would have.
func (x *inquest) socket(h Hop, r *Request) {
	to := h.Addresses()
	if to == nil {
		to = x.targets
	}
	if len(to) == 0 {
		return
	}
	o := h.Options(&Client{Remote: netip.AddrPortFrom(x.Client, 0)}, r, to[0])
	parts := []string{"to " + to[0].String(), "mptcp: " + o.Mode.String()}
	if o.FastOpen {
		parts = append(parts, "first bytes in the SYN")
	}
	if o.Local.IsValid() {
		parts = append(parts, "from "+o.Local.Addr().String())
	}
	if o.Socket.Device != "" {
		parts = append(parts, "by "+o.Socket.Device)
	}
	if o.Socket.Mark != 0 {
		parts = append(parts, fmt.Sprintf("mark %#x", o.Socket.Mark))
	}
	x.rule("connection", Passes, h.Name(), strings.Join(parts, ", "))
	x.choice(h, r)
}

// choice tells what the hop would be asked for.
func (x *inquest) choice(h Hop, r *Request) {
	if len(x.targets) == 0 || h.Addresses() == nil {
		return
	}
	c, err := h.Converse(&Client{}, r, x.targets[0])
	if a, ok := c.(Asker); err == nil && ok {
		if choice := a.Choice(); choice != nil {
			x.rule("option", Passes, "ask.options", fmt.Sprintf("%s is asked for %v, by %v", h.Name(), choice.Asked, choice.By))
		}
	}
}

func (x *inquest) options(context.Context) bool {
	layers := options.Layers{}
	if x.allowed != nil {
		layers.Subscriber, layers.Own = x.allowed.Options, &x.allowed.Caps
	}
	if !x.Asked.Empty() {
		layers.Ask(x.Asked)
	}
	grants := x.listener.Options.Grant(x.Client, &layers)
	grants.Apply(x.server.unsupported(byTuner(grants.Granted())))
	for i := range grants.List {
		g := &grants.List[i]
		verdict := Passes
		if g.Why.Refused() {
			verdict = Notes
		}
		x.rule("option", verdict, g.From.String(), g.String())
	}
	for _, b := range grants.Bad {
		x.rule("option", Notes, x.Asked.From.String(), fmt.Sprintf("%s (%s: %s)", b.Text, b.Why, b.Detail))
	}
	return true
}

func (x *inquest) paths(context.Context) bool {
	x.rule("paths", Passes, managerOf(x.listener.ClientPaths), "subflows with the client, if it uses MPTCP")
	x.rule("paths", Passes, managerOf(x.listener.ServerPaths), "subflows towards the server, if that connection uses MPTCP")
	return true
}

func managerOf(p *paths.Policy) string {
	if p == nil {
		return "paths.manager: kernel"
	}
	return "paths.manager: " + cmp.Or(p.Name, "kernel")
}
