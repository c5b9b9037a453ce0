// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"fmt"
	"strings"
)

// Ruleset prints what Install would install: the table in nft's syntax, and
// the routing as commands in comments. It can be loaded with nft -f.
func (c Config) Ruleset() string {
	c = c.withDefaults()
	var b strings.Builder
	if c.delivers() {
		r := c.routing()
		for _, flag := range []string{"-4", "-6"} {
			fmt.Fprintf(&b, "# ip %s rule add %s protocol %d\n", flag, r, RouteProtocol)
			fmt.Fprintf(&b, "# ip %s route add local default dev lo table %d protocol %d\n", flag, c.Table, RouteProtocol)
		}
	}
	rs := c.ruleset()
	fmt.Fprintf(&b, "table inet %s {\n", c.Name)
	for _, s := range rs.sets() {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n", s.name, s.datatype.Name)
		if s.ranges {
			b.WriteString("\t\tflags interval\n")
		}
		if len(s.elements) > 0 {
			texts := make([]string, len(s.elements))
			for i, e := range s.elements {
				texts[i] = e.text
			}
			fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(texts, ", "))
		}
		b.WriteString("\t}\n\n")
	}
	for i, ch := range rs.chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "\tchain %s {\n", ch.name)
		if ch.hook != nil {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", ch.typ, ch.hookName, *ch.priority)
		}
		for _, r := range ch.rules {
			fmt.Fprintf(&b, "\t\t%s comment %q\n", r.text(), r.reason)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}
