// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const quicPort = 443

// ruleset is the content of an nftables table. It is made once of a Config and
// then installed, printed or evaluated.
type ruleset struct {
	chains []chain
}

// chain is a chain; without a hook, one that others go to.
type chain struct {
	name     string
	typ      nftables.ChainType
	hook     *nftables.ChainHook
	hookName string
	priority *nftables.ChainPriority
	sees     func(*Flow) bool // what passes the hook
	rules    []rule
}

// rule is a line of a chain: if all matches hold, the verdict.
type rule struct {
	matches []match
	verdict verdict
	reason  string
}

type verdict struct {
	text    string
	exprs   []expr.Any
	outcome Outcome
	starts  bool // an interception, or takes another choice away
}

// draining is the ruleset with its ways to start interceptions barred. The rules
// themselves stay: without any that translates, the kernel stops to track
// connections, and those that are redirected break.
func (rs ruleset) draining() ruleset {
	chains := slices.Clone(rs.chains)
	for i, c := range chains {
		starts := func(r rule) bool { return r.verdict.starts }
		if at := slices.IndexFunc(c.rules, starts); at >= 0 {
			chains[i].rules = slices.Insert(slices.Clone(c.rules), at, rule{verdict: pass(), reason: "draining"})
		}
	}
	return ruleset{chains: chains}
}

func (r *rule) text() string {
	words := make([]string, 0, len(r.matches)+1)
	for _, m := range r.matches {
		words = append(words, m.text)
	}
	return strings.Join(append(words, r.verdict.text), " ")
}

func (r *rule) exprs() []expr.Any {
	var es []expr.Any
	for _, m := range r.matches {
		es = append(es, m.exprs...)
	}
	return append(es, r.verdict.exprs...)
}

func (r *rule) holds(f *Flow) (detail string, ok bool) {
	for _, m := range r.matches {
		d, ok := m.holds(f)
		if !ok {
			return "", false
		}
		if d != "" {
			detail = d
		}
	}
	return detail, true
}

// sets lists the sets that rules refer to, each once.
func (rs ruleset) sets() []*set {
	var sets []*set
	for _, c := range rs.chains {
		for _, r := range c.rules {
			for _, m := range r.matches {
				if m.set != nil && !slices.ContainsFunc(sets, func(s *set) bool { return s.name == m.set.name }) {
					sets = append(sets, m.set)
				}
			}
		}
	}
	return sets
}

// ruleset is the content of the table that c asks for. c has its defaults.
func (c *Config) ruleset() ruleset {
	var rs ruleset
	if c.delivers() {
		rs.chains = append(rs.chains, c.deliverChain(), c.forwardedChain())
	}
	if c.Forwarded.on() && c.Forwarded.RejectQUIC {
		rs.chains = append(rs.chains, quicChain("forwarded_quic", nftables.ChainHookForward, "forward",
			func(f *Flow) bool { return f.UDP && !f.Own }, c.forwardedConditions()))
	}
	if c.Own.on() {
		rs.chains = append(rs.chains, c.ownChain())
		if c.Own.RejectQUIC {
			rs.chains = append(rs.chains, quicChain("own_quic", nftables.ChainHookOutput, "output",
				func(f *Flow) bool { return f.UDP && f.Own }, c.ownConditions()))
		}
	}
	return rs
}

// deliverChain marks packets for delivery to this machine. Its name tells other
// instances which routing this one relies on.
func (c *Config) deliverChain() chain {
	r := c.routing()
	set := verdict{
		text:  fmt.Sprintf("meta mark set %#x accept", c.Mark),
		exprs: []expr.Any{&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(c.Mark)}},
	}
	if c.Mask != DefaultMask {
		set.text = fmt.Sprintf("meta mark set meta mark & %#x | %#x accept", ^c.Mask, c.Mark)
		set.exprs = []expr.Any{meta(expr.MetaKeyMARK), &expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(^c.Mask),
			Xor:  binaryutil.NativeEndian.PutUint32(c.Mark),
		}}
	}
	set.exprs = append(set.exprs,
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
		&expr.Verdict{Kind: expr.VerdictAccept})
	return chain{
		name:  r.chain(),
		sees:  func(*Flow) bool { return false },
		rules: []rule{{verdict: set, reason: "delivered to this machine"}},
	}
}

func (c *Config) forwardedChain() chain {
	ch := chain{
		name: "forwarded", typ: nftables.ChainTypeFilter,
		hook: nftables.ChainHookPrerouting, hookName: "prerouting", priority: nftables.ChainPriorityMangle,
		sees: func(f *Flow) bool { return !f.UDP && !f.Own && c.Forwarded.on() },
		rules: []rule{
			// Without them the kernel would not learn of smaller MTUs on the way.
			{[]match{protocol(unix.IPPROTO_ICMP), transparentSocket()}, c.goDeliver(), "error about a connection of this machine"},
			{[]match{protocol(unix.IPPROTO_ICMPV6), transparentSocket()}, c.goDeliver(), "error about a connection of this machine"},
			{[]match{otherProtocol(unix.IPPROTO_TCP)}, pass(), "not TCP"},
			{[]match{running(), transparentSocket()}, c.goDeliver(), "connection of this machine"},
			{[]match{running()}, pass(), "connection that was not intercepted"},
		},
	}
	if !c.Forwarded.on() {
		return ch
	}
	ch.rules = append(ch.rules, c.forwardedConditions()...)
	for _, v6 := range families {
		if l := c.Forwarded.listener(v6); l.IsValid() {
			ch.rules = append(ch.rules, rule{
				[]match{family(v6), protocol(unix.IPPROTO_TCP)}, c.tproxy(v6, l), "nothing leaves it out",
			})
		}
	}
	return ch
}

func (c *Config) ownChain() chain {
	ch := chain{
		name: "own", typ: nftables.ChainTypeNAT,
		hook: nftables.ChainHookOutput, hookName: "output", priority: nftables.ChainPriorityNATDest,
		sees: func(f *Flow) bool { return !f.UDP && f.Own },
		rules: append([]rule{
			{[]match{otherProtocol(unix.IPPROTO_TCP)}, pass(), "not TCP"},
		}, c.ownConditions()...),
	}
	for _, v6 := range families {
		if l := c.Own.listener(v6); l.IsValid() {
			ch.rules = append(ch.rules, rule{
				[]match{family(v6), protocol(unix.IPPROTO_TCP)}, redirect(l.Port()), "nothing leaves it out",
			})
		}
	}
	return ch
}

func quicChain(name string, hook *nftables.ChainHook, hookName string, sees func(*Flow) bool, conditions []rule) chain {
	return chain{
		name: name, typ: nftables.ChainTypeFilter,
		hook: hook, hookName: hookName, priority: nftables.ChainPriorityFilter,
		sees: sees,
		rules: slices.Concat([]rule{
			{[]match{otherProtocol(unix.IPPROTO_UDP)}, pass(), "not UDP"},
			{[]match{toOtherUDPPort(quicPort)}, pass(), "not QUIC"},
		}, conditions, []rule{
			{[]match{protocol(unix.IPPROTO_UDP)}, reject(), "QUIC, where TCP would be intercepted"},
		}),
	}
}

var families = [...]bool{false, true} // IPv6?

// forwardedConditions are what lets forwarded traffic pass.
func (c *Config) forwardedConditions() []rule {
	f := &c.Forwarded
	var rules []rule
	if len(f.Interfaces) > 0 {
		s := interfaceSet("interfaces", f.Interfaces)
		rules = append(rules, rule{[]match{fromOtherInterface(s, f.Interfaces)}, pass(), "not from an interface of clients"})
	} else {
		rules = append(rules, rule{[]match{fromLoopback()}, pass(), "from this machine"})
	}
	if len(f.Sources) > 0 {
		for _, v6 := range families {
			rules = append(rules, rule{[]match{fromElsewhere("sources", v6, f.Sources)}, pass(), "not from a prefix of clients"})
		}
	}
	rules = append(rules, c.destinationConditions("forwarded", &f.Capture)...)
	if len(f.Exclude.MACs) > 0 {
		rules = append(rules, rule{[]match{fromMAC("forwarded_macs_excluded", f.Exclude.MACs)}, pass(), "excluded link-layer address"})
	}
	return rules
}

// ownConditions are what lets own traffic pass.
func (c *Config) ownConditions() []rule {
	return append([]rule{
		{[]match{marked(c.OwnMark)}, pass(), "traffic of the proxy itself"},
	}, c.destinationConditions("own", &c.Own.Capture)...)
}

// destinationConditions are those that forwarded and own traffic share. who
// begins the names of sets.
func (c *Config) destinationConditions(who string, capture *Capture) []rule {
	x := &capture.Exclude
	rules := []rule{{[]match{toNobodyElse(addressTypeSet("local_types"))}, pass(), "address of this machine, broadcast or multicast"}}
	excluded := func(set, reason string, ps []netip.Prefix) {
		for _, v6 := range families {
			if len(ofFamily(ps, v6)) > 0 {
				rules = append(rules, rule{[]match{to(set, v6, ps)}, pass(), reason})
			}
		}
	}
	excluded("special", "not the address of a server", special)
	upstreams := make([]netip.Prefix, len(c.Upstreams))
	for i, a := range c.Upstreams {
		upstreams[i] = single(a)
	}
	excluded("upstreams", "address of an upstream", upstreams)
	if x.Private {
		excluded("private", "private destination", private)
	}
	excluded(who+"_excluded", "excluded destination", x.Destinations)
	if len(x.Ports) > 0 {
		rules = append(rules, rule{[]match{toPort(who+"_ports_excluded", x.Ports, false)}, pass(), "excluded port"})
	}
	for _, value := range slices.Compact(slices.Sorted(slices.Values(x.DSCP))) {
		for _, v6 := range families {
			rules = append(rules, rule{[]match{withDSCP(v6, value)}, pass(), "excluded DSCP"})
		}
	}
	if len(capture.Ports) > 0 {
		rules = append(rules, rule{[]match{toPort(who+"_ports", capture.Ports, true)}, pass(), "not a port to intercept"})
	}
	return rules
}

func pass() verdict {
	return verdict{text: "return", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}, outcome: Passed}
}

func (c *Config) goDeliver() verdict {
	name := c.routing().chain()
	return verdict{
		text:    "goto " + name,
		exprs:   []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: name}},
		outcome: Intercepted,
	}
}

// tproxy assigns a packet to the listener. Without one the kernel goes on with
// the next rule, and in the end with the packet.
func (c *Config) tproxy(v6 bool, l netip.AddrPort) verdict {
	protocol, number := "ip", byte(unix.NFPROTO_IPV4)
	if v6 {
		protocol, number = "ip6", unix.NFPROTO_IPV6
	}
	port := binary.BigEndian.AppendUint16(nil, l.Port())
	v := c.goDeliver()
	v.starts = true
	if l.Addr().IsUnspecified() {
		v.text = fmt.Sprintf("tproxy %s to :%d %s", protocol, l.Port(), v.text)
		v.exprs = append([]expr.Any{
			&expr.Immediate{Register: 1, Data: port},
			&expr.TProxy{Family: number, RegPort: 1},
		}, v.exprs...)
		return v
	}
	v.text = fmt.Sprintf("tproxy %s to %s %s", protocol, l, v.text)
	v.exprs = append([]expr.Any{
		&expr.Immediate{Register: 1, Data: l.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: port},
		&expr.TProxy{Family: number, RegAddr: 1, RegPort: 2},
	}, v.exprs...)
	return v
}

func redirect(port uint16) verdict {
	const rangeProtoSpecified = 2 // NF_NAT_RANGE_PROTO_SPECIFIED
	return verdict{
		text: fmt.Sprintf("redirect to :%d", port),
		exprs: []expr.Any{
			&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
			&expr.Redir{RegisterProtoMin: 1, Flags: rangeProtoSpecified},
		},
		outcome: Intercepted,
		starts:  true,
	}
}

func reject() verdict {
	return verdict{
		text:    "reject with icmpx port-unreachable",
		exprs:   []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}},
		outcome: Rejected,
		starts:  true,
	}
}
