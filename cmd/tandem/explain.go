// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/tproxy"
)

// explainer knows what is in force, for one question.
type explainer struct {
	*gateway
	setup    *setup
	rules    tproxy.Config
	question admin.Question
	inquiry  proxy.Inquiry
	own      []netip.Addr // addresses of this machine
}

// Explain implements admin.Gateway.
func (g operated) Explain(ctx context.Context, q admin.Question) (admin.Explanation, error) {
	g.mu.Lock()
	x := explainer{gateway: g.gateway, setup: g.current, rules: g.current.intercepted(g.bound), question: q}
	g.mu.Unlock() // names may take long
	answer := admin.Explanation{
		Source: q.Source, Destination: net.JoinHostPort(q.Destination, fmt.Sprint(q.Port)), Listeners: []admin.Verdict{},
	}
	var err error
	if x.own, err = policy.InterfaceAddresses(); err != nil {
		return answer, fmt.Errorf("own addresses: %w", err)
	}
	x.inquiry = proxy.Inquiry{Client: q.Source.Unmap().WithZone(""), User: q.User, Target: netip.AddrPortFrom(netip.Addr{}, q.Port)}
	if a, err := netip.ParseAddr(q.Destination); err == nil {
		x.inquiry.Target = netip.AddrPortFrom(a.Unmap(), q.Port)
	} else {
		x.inquiry.Host = q.Destination
	}
	for i, l := range x.setup.listeners {
		if q.Listener == "" || q.Listener == l.Name {
			answer.Listeners = append(answer.Listeners, x.listener(ctx, &x.setup.config.Listeners[i], l))
		}
	}
	if len(answer.Listeners) == 0 {
		return answer, fmt.Errorf("there is no listener %q", q.Listener)
	}
	return answer, nil
}

// listener says what one listener would do.
func (x *explainer) listener(ctx context.Context, c *config.Listener, l *proxy.Listener) admin.Verdict {
	v := admin.Verdict{Listener: c.Name, Type: string(c.Type), Outcome: admin.Served}
	q := x.inquiry
	if !x.resolves(ctx, c, &v, &q) || !x.reaches(c, &v, &q) {
		return v
	}
	x.asks(c, &q)
	q.Asked = x.options(c)
	for _, r := range x.server.Explain(ctx, l, q) {
		add(&v, r)
	}
	if v.Rule == "" {
		v.Rule = decisive(v.Rulings)
	}
	return v
}

// add notes a ruling, and what it means for the outcome.
func add(v *admin.Verdict, r proxy.Ruling) bool {
	v.Rulings = append(v.Rulings, admin.Ruling{Stage: r.Stage, Verdict: r.Verdict.String(), Rule: r.Rule, Detail: r.Detail})
	switch r.Verdict {
	case proxy.Refuses:
		v.Outcome, v.Rule = admin.Refused, r.Rule
		return false
	case proxy.Depends:
		if v.Outcome == admin.Served {
			v.Outcome, v.Rule = admin.Depends, r.Rule
		}
	}
	return true
}

// decisive is the rule by which a connection is served: the last one about its
// destination, or else about its source.
func decisive(rulings []admin.Ruling) string {
	for _, stage := range []string{"destination", "subscriber", "source", "interception"} {
		for _, r := range slices.Backward(rulings) {
			if r.Stage == stage && r.Verdict == proxy.Passes.String() {
				return r.Rule
			}
		}
	}
	return "nothing is in the way"
}

// asks decides on who the client is, as far as the protocol of the listener asks.
func (x *explainer) asks(c *config.Listener, q *proxy.Inquiry) {
	rule := func(v proxy.Verdict, rule, detail string) {
		q.Front = append(q.Front, proxy.Ruling{Stage: "authentication", Verdict: v, Rule: rule, Detail: detail})
	}
	if c.Type == config.ListenConvert && c.Convert.Cookies == config.CookiesRequired {
		rule(proxy.Notes, "convert.cookies: required", "without a cookie it takes one more round trip, once")
	}
	byList := c.SOCKS5 != nil && len(c.SOCKS5.Users) > 0
	byRegistry := c.SOCKS5 != nil && !byList && c.Subscribers == config.MembersRequired
	switch {
	case !byList && !byRegistry:
		if q.User != "" {
			rule(proxy.Notes, "listener "+c.Name, "asks nobody for a name: the user does not count")
			q.User = ""
		}
	case q.User == "" && byList:
		rule(proxy.Depends, "socks5.users", "clients have to show a name and a password; ask again with a user")
	case q.User == "":
		rule(proxy.Refuses, "subscribers: required", "clients have to show a name and a password; ask again with a user")
	case byList && slices.ContainsFunc(c.SOCKS5.Users, func(u config.User) bool { return u.Name == q.User }):
		rule(proxy.Passes, "socks5.users", q.User+", if the password is right")
	case byList:
		rule(proxy.Refuses, "socks5.users", "there is no user "+q.User)
	default:
		switch listed, asked := x.aaa.registry.Lists(q.User); {
		case listed:
			rule(proxy.Passes, "subscribers.list", q.User+", if the password is right")
		case asked:
			rule(proxy.Depends, "subscribers.radius", "RADIUS is asked for name and password")
		default:
			rule(proxy.Refuses, "subscribers.list", "there is no subscriber "+q.User)
		}
	}
}

// resolves takes the place of clients that look names up themselves.
func (x *explainer) resolves(ctx context.Context, c *config.Listener, v *admin.Verdict, q *proxy.Inquiry) bool {
	if q.Host == "" || c.Type == config.ListenSOCKS5 || c.Type == config.ListenForward {
		return true
	}
	addrs, err := x.setup.resolver.Lookup(ctx, q.Host)
	if err != nil {
		add(v, proxy.Ruling{Stage: "name", Verdict: proxy.Depends, Rule: "the client", Detail: "clients look names up themselves: " + err.Error()})
		return false
	}
	q.Host, q.Target = "", netip.AddrPortFrom(addrs[0], q.Target.Port())
	detail := fmt.Sprintf("clients look names up themselves: looked at is %v", addrs[0])
	if n := len(addrs); n > 1 {
		detail += fmt.Sprintf(" of %d addresses", n)
	}
	return add(v, proxy.Ruling{Stage: "name", Verdict: proxy.Notes, Rule: "the client", Detail: detail})
}

// reaches decides on whether the connection comes to the listener at all.
func (x *explainer) reaches(c *config.Listener, v *admin.Verdict, q *proxy.Inquiry) bool {
	switch c.Type {
	case config.ListenForward:
		t := c.Forward.Target
		if q.Target.Port() != t.Port || q.Host != t.Host || q.Target.Addr() != t.Addr.Unmap() {
			v.Outcome, v.Rule = admin.Elsewhere, "forward.target"
			v.Rulings = append(v.Rulings, admin.Ruling{Stage: "destination", Verdict: proxy.Notes.String(), Rule: v.Rule, Detail: "leads to " + t.String() + " only"})
			return false
		}
	case config.ListenTProxy, config.ListenRedirect:
		return x.intercepted(c, v, q)
	}
	return true
}

// intercepted asks the rules that are in the kernel.
func (x *explainer) intercepted(c *config.Listener, v *admin.Verdict, q *proxy.Inquiry) bool {
	own := slices.Contains(x.own, q.Client)
	f := tproxy.Flow{
		Own: own, Interface: x.question.Interface, Source: q.Client, Destination: q.Target,
		Local: slices.Contains(x.own, q.Target.Addr()),
	}
	if f.Interface == "" && !own {
		f.Interface = interfaceTowards(q.Client)
	}
	pass := func(rule, detail string) bool {
		v.Outcome, v.Rule = admin.Passed, rule
		v.Rulings = append(v.Rulings, admin.Ruling{Stage: "interception", Verdict: proxy.Notes.String(), Rule: rule, Detail: detail})
		return false
	}
	if redirects := c.Type == config.ListenRedirect; own != redirects {
		if own {
			return pass("type: tproxy", "gets what this machine forwards, and the source is this machine")
		}
		return pass("type: redirect", "gets what this machine's own programs send, and the source is another one")
	}
	e := x.rules.Explain(f)
	where := "comes from this machine"
	if !own {
		where = "comes by " + f.Interface
	}
	if e.Rule != "" {
		where += fmt.Sprintf("; nft chain %s: %s", e.Chain, e.Rule)
	}
	if e.Outcome != tproxy.Intercepted {
		return pass(e.Reason, where)
	}
	return add(v, proxy.Ruling{Stage: "interception", Verdict: proxy.Passes, Rule: e.Reason, Detail: where})
}

// interfaceTowards is the one that leads to a client: where its packets come
// from, unless routing is asymmetric.
func interfaceTowards(client netip.Addr) string {
	routes, err := netlink.RouteGet(client.AsSlice())
	if err != nil || len(routes) == 0 {
		return ""
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return ""
	}
	return link.Attrs().Name
}

// options are those that the client asks for, in the way that it has.
func (x *explainer) options(c *config.Listener) options.Request {
	if x.question.Options == "" {
		return options.Request{}
	}
	r := options.ParseRequest(x.question.Options)
	switch {
	case c.Type == config.ListenSOCKS5 && c.Options.Accepts(options.FromSOCKS):
	case c.Type == config.ListenConvert && c.Options.Accepts(options.FromConvert):
		r.From = options.FromConvert
	default:
		r.From = options.FromTCPOption
	}
	return r
}
