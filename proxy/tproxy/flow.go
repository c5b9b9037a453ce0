// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Flow is the first packet of a connection, or of an exchange of datagrams.
type Flow struct {
	// UDP instead of TCP.
	UDP bool
	// Own is traffic of this machine instead of what it forwards.
	Own bool
	// Mark is the firewall mark; of Own only.
	Mark uint32
	// Interface that the packet arrives on, and MAC of whom it comes from;
	// not of Own.
	Interface string
	MAC       MAC

	Source      netip.Addr
	Destination netip.AddrPort
	// DSCP is the Differentiated Services Code Point, 0 to 63.
	DSCP uint8
	// Local is whether the destination is an address of this machine, or a
	// broadcast address of one of its networks.
	Local bool
}

func (f *Flow) protocol() byte {
	if f.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

func (f *Flow) source() netip.Addr      { return f.Source.Unmap().WithZone("") }
func (f *Flow) destination() netip.Addr { return f.Destination.Addr().Unmap().WithZone("") }
func (f *Flow) ipv6() bool              { return f.destination().Is6() }

// Outcome is what becomes of a flow.
type Outcome uint8

// The values of Outcome.
const (
	Passed      Outcome = iota // goes on to its destination
	Intercepted                // goes to the listener
	Rejected                   // is answered with an ICMP port unreachable
)

func (o Outcome) String() string {
	return [...]string{"passed", "intercepted", "rejected"}[o]
}

// Explanation tells what becomes of a flow, and why.
type Explanation struct {
	Outcome Outcome
	// Reason in words, such as "excluded destination (192.0.2.0/24)".
	Reason string
	// Chain and Rule, in nft's syntax, that decide; empty if no rule does.
	Chain, Rule string
}

// Explain tells what becomes of a flow. It evaluates the very rules that
// Install gives to the kernel, but neither reads nor changes anything.
func (c Config) Explain(f Flow) Explanation {
	c = c.withDefaults()
	rs := c.ruleset()
	for _, ch := range rs.chains {
		if !ch.sees(&f) {
			continue
		}
		for _, r := range ch.rules {
			if detail, ok := r.holds(&f); ok {
				e := Explanation{Outcome: r.verdict.outcome, Reason: r.reason, Chain: ch.name, Rule: r.text()}
				if detail != "" {
					e.Reason += " (" + detail + ")"
				}
				return e
			}
		}
		return Explanation{Reason: "no listener of this family", Chain: ch.name}
	}
	return Explanation{Reason: "traffic of this kind is not looked at"}
}
