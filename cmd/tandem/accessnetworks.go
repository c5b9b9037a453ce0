// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"

	"github.com/tandem-gateway/tandem/admin"
	"github.com/tandem-gateway/tandem/config"
	"github.com/tandem-gateway/tandem/proxy"
)

// accessNetworks are those of a configuration; nil if it has none.
func accessNetworks(list []config.AccessNetwork) *proxy.Networks {
	if len(list) == 0 {
		return nil
	}
	networks := make([]proxy.Network, len(list))
	for i, n := range list {
		networks[i] = proxy.Network{Name: n.Name, Prefixes: n.Prefixes, Interfaces: n.Interfaces}
	}
	return proxy.NewNetworks(networks, localDevices)
}

// networkTotals are in the order of their names.
func networkTotals(stats map[string]proxy.NetworkStats) []admin.NetworkBytes {
	var totals []admin.NetworkBytes
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		totals = append(totals, admin.NetworkBytes{Name: name, Up: stats[name].Up, Down: stats[name].Down})
	}
	return totals
}

// nameNetworks says over which access networks subflows go.
func nameNetworks(n *proxy.Networks, all []admin.Paths) []admin.Paths {
	if n == nil {
		return all
	}
	for i := range all {
		for _, list := range [][]admin.Subflow{all[i].Subflows, all[i].Past} {
			for j := range list {
				list[j].Network = n.Of(list[j].Local.Addr(), list[j].Remote.Addr(), all[i].Initiator)
			}
		}
	}
	return all
}
