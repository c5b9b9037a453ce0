// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
)

// redundant checks the paths of connections that are carried several times.
func (v *validator) redundant(path string, c *ConvertClient) {
	at := join(path, "redundant-paths")
	if len(c.RedundantPaths) > 0 && !c.Redundant {
		v.bad(at, "not used", "want redundant: true")
	}
	if n := len(c.RedundantPaths); n > maxRedundantPaths {
		v.bad(at, fmt.Sprintf("%d paths", n), fmt.Sprintf("want at most %d", maxRedundantPaths))
	}
	unique(v, at, c.RedundantPaths)
	for i, p := range c.RedundantPaths {
		at := fmt.Sprintf("%s[%d]", at, i)
		a, err := netip.ParseAddr(p)
		switch {
		case err != nil:
			v.networkInterface(at, p)
		case a.IsUnspecified() || a.IsMulticast() || a.Zone() != "":
			v.bad(at, p+" cannot be a source address", "want a unicast address without a zone")
		}
	}
}

// maxRedundantPaths is how many legs converters let a stream have.
const maxRedundantPaths = 8
