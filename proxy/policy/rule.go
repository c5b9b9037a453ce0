// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"
)

// A PortRange is the ports From to To, both included.
type PortRange struct{ From, To uint16 }

// Contains reports whether port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.From <= port && port <= r.To }

// String returns "80" or "8000-8080".
func (r PortRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(int(r.From))
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// A Rule matches destinations by prefix and port.
type Rule struct {
	Prefix netip.Prefix
	Ports  []PortRange // none: every port
}

// String returns "192.0.2.0/24" or "192.0.2.0/24 ports 25,8000-8080".
func (r Rule) String() string {
	if len(r.Ports) == 0 {
		return r.Prefix.String()
	}
	ports := make([]string, len(r.Ports))
	for i, p := range r.Ports {
		ports[i] = p.String()
	}
	return r.Prefix.String() + " ports " + strings.Join(ports, ",")
}

// Validate says what is wrong with the rule.
func (r Rule) Validate() error {
	if !r.Prefix.IsValid() {
		return fmt.Errorf("rule %v: not a valid prefix", r)
	}
	for _, p := range r.Ports {
		if p.From > p.To {
			return fmt.Errorf("rule %v: port range %d-%d is upside down", r, p.From, p.To)
		}
	}
	return nil
}

// A namedRule is a Rule with the text that tells of it.
type namedRule struct {
	ports []PortRange
	text  string
}

func (r *namedRule) matches(port uint16) bool {
	return len(r.ports) == 0 || slices.ContainsFunc(r.ports, func(p PortRange) bool { return p.Contains(port) })
}

// A ruleTable finds the rules that match a destination. Each prefix holds the
// rules of all prefixes around it too, the narrowest first, so that one lookup
// of the longest match finds every rule for an address.
type ruleTable struct {
	table bart.Table[[]namedRule]
}

func newRuleTable(verb string, rules []Rule) (*ruleTable, error) {
	normal := make([]Rule, 0, len(rules))
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("%s %w", verb, err)
		}
		p := Unmapped(r.Prefix)
		normal = append(normal, Rule{Prefix: netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()).Masked(), Ports: slices.Clone(r.Ports)})
	}
	// Wide prefixes go first, so that they are there to be inherited from.
	slices.SortStableFunc(normal, func(a, b Rule) int { return a.Prefix.Bits() - b.Prefix.Bits() })
	t := new(ruleTable)
	for _, r := range normal {
		around, _ := t.table.LookupPrefix(r.Prefix)
		own := namedRule{ports: r.Ports, text: verb + " " + r.String()}
		t.table.Insert(r.Prefix, append([]namedRule{own}, around...))
	}
	return t, nil
}

// match returns the text of a rule for the destination, or "".
func (t *ruleTable) match(addr netip.Addr, port uint16) string {
	rules, _ := t.table.Lookup(addr)
	for i := range rules {
		if rules[i].matches(port) {
			return rules[i].text
		}
	}
	return ""
}
