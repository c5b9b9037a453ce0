// SPDX-License-Identifier: Apache-2.0

package policy

import "net/netip"

// A Decision is what [Destinations] has to say of one address, and why.
type Decision struct {
	Allowed  bool
	Rule     string     // the rule that decided
	Embedded netip.Addr // valid if the rule is about the IPv4 address within
}

// Rules that are not in any list.
const (
	ruleInvalid = "not an address"
	ruleOwn     = "default deny own address"
	ruleOnly    = "default deny what no rule allows"
	ruleDefault = "default allow"
)

// Check returns nil if clients may go to dst, else a *Denied.
func (d *Destinations) Check(dst netip.AddrPort) error {
	v := d.Decide(dst)
	if v.Allowed {
		return nil
	}
	return &Denied{Addr: dst, Rule: v.Rule, Embedded: v.Embedded}
}

// Decide says whether clients may go to dst and which rule says so.
func (d *Destinations) Decide(dst netip.AddrPort) Decision {
	addr, port := dst.Addr().Unmap().WithZone(""), dst.Port()
	if !addr.IsValid() {
		return Decision{Rule: ruleInvalid}
	}
	inner := embedded(addr)
	if rule := d.deny.match(addr, port); rule != "" {
		return Decision{Rule: rule}
	}
	if inner.IsValid() {
		if rule := d.deny.match(inner, port); rule != "" {
			return Decision{Rule: rule, Embedded: inner}
		}
	}
	if rule := d.allow.match(addr, port); rule != "" {
		return Decision{Allowed: true, Rule: rule}
	}
	if rule := d.byDefault(addr); rule != "" {
		return Decision{Rule: rule}
	}
	if inner.IsValid() {
		if rule := d.allow.match(inner, port); rule != "" {
			return Decision{Allowed: true, Rule: rule, Embedded: inner}
		}
		if rule := d.byDefault(inner); rule != "" {
			return Decision{Rule: rule, Embedded: inner}
		}
	}
	if d.only {
		return Decision{Rule: ruleOnly}
	}
	return Decision{Allowed: true, Rule: ruleDefault}
}

// byDefault returns the default rule that denies addr, or "".
func (d *Destinations) byDefault(addr netip.Addr) string {
	if _, own := (*d.own.Load())[addr]; own {
		return ruleOwn
	}
	if s, ok := d.special.Lookup(addr); ok && !(s.private && d.allowPrivate) {
		return s.text
	}
	return ""
}
