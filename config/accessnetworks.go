// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
)

// otherNetwork is what all is called that belongs to no access network.
const otherNetwork = "other"

// AccessNetwork is a network over which the bytes of clients come and go, such as
// DSL or LTE. What each has carried is in accounting and in records, see
// docs/aaa.md.
type AccessNetwork struct {
	// Name in accounting records, metrics and the status.
	Name string `yaml:"name"`

	// Addresses that the client's side of connections has on it: at an
	// aggregator those of its clients, at a home gateway its own.
	Prefixes []netip.Prefix `yaml:"prefixes"`

	// Network interfaces of this machine that lead to it. Prefixes are asked
	// first.
	Interfaces []string `yaml:"interfaces"`
}

func (v *validator) accessNetworks(list []AccessNetwork) {
	names, prefixes, interfaces := map[string]string{}, map[netip.Prefix]string{}, map[string]string{}
	for i := range list {
		n, path := &list[i], fmt.Sprintf("access-networks[%d]", i)
		v.name(join(path, "name"), n.Name, names)
		if n.Name == otherNetwork {
			v.bad(join(path, "name"), quote(n.Name), "want another name: this is what all is called that belongs to none")
		}
		if len(n.Prefixes) == 0 && len(n.Interfaces) == 0 {
			v.bad(path, "neither prefixes nor interfaces", "want at least one of them")
		}
		for j, p := range n.Prefixes {
			at := fmt.Sprintf("%s.prefixes[%d]", path, j)
			if other, twice := prefixes[p]; twice && p.IsValid() {
				v.bad(at, fmt.Sprintf("%v belongs to %s too", p, other), "want each prefix once")
			}
			prefixes[p] = path
		}
		for j, name := range n.Interfaces {
			at := fmt.Sprintf("%s.interfaces[%d]", path, j)
			v.networkInterface(at, name)
			if other, twice := interfaces[name]; twice {
				v.bad(at, fmt.Sprintf("%s leads to %s too", name, other), "want each interface once")
			}
			interfaces[name] = path
		}
	}
}
