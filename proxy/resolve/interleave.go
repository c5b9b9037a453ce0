// SPDX-License-Identifier: Apache-2.0

package resolve

import "net/netip"

// answer is what one family's query brought.
type answer struct {
	family Family
	addrs  []netip.Addr
	err    error
}

// interleave merges the addresses of families alternately, the preferred
// family first: RFC 8305 section 4. Within a family the order, which is that of
// RFC 6724, is kept.
func interleave(prefer Family, answers []answer) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range answers {
		if a.family == prefer {
			first = a.addrs
		} else {
			second = a.addrs
		}
	}
	out := make([]netip.Addr, 0, len(first)+len(second))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}
