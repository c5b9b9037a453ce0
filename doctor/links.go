// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp/pm"
)

const groupLinks = "links"

// link is an address of an interface that leads to aggregators of its family.
type link struct {
	device   string
	index    int
	mtu      int
	address  netip.Addr
	intended bool // the configuration or an endpoint names it
}

func (l *link) name() string { return fmt.Sprintf("%s (%s)", l.device, l.address) }

// network is what the kernel knows about the ways out.
type network struct {
	devices   []netlink.Link
	routes    map[int][]netlink.Route // by family
	endpoints []pm.Endpoint
}

func lookAtNetwork() (*network, error) {
	devices, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	w := &network{devices: devices, routes: map[int][]netlink.Route{}}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		if w.routes[family], err = netlink.RouteListFiltered(family, all, netlink.RT_FILTER_TABLE); err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
	}
	w.endpoints = endpoints()
	return w, nil
}

// endpoints of the kernel's path manager; none where they may not be seen,
// which the row about them tells.
func endpoints() []pm.Endpoint {
	c, err := pm.Dial(pm.Options{})
	if err != nil {
		return nil
	}
	defer c.Close()
	all, _ := c.Endpoints()
	return all
}

// way is a route by an interface.
type way struct {
	table   int
	gateway net.IP // nil: the destination is on the link
}

// ways finds the routes for an address that leave by an interface.
func (w *network) ways(to netip.Addr, index int) []way {
	var found []way
	for _, r := range w.routes[family(to)] {
		if r.Type != unix.RTN_UNICAST || r.Dst != nil && !r.Dst.Contains(to.AsSlice()) {
			continue
		}
		if r.LinkIndex == index {
			found = append(found, way{r.Table, r.Gw})
		}
		for _, hop := range r.MultiPath {
			if hop.LinkIndex == index {
				found = append(found, way{r.Table, hop.Gw})
			}
		}
	}
	return found
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// linkRows finds the links and looks at their state and routing.
func linkRows(n *Needs) (*network, []link, []Row) {
	if len(n.Aggregators) == 0 {
		return nil, nil, nil
	}
	w, err := lookAtNetwork()
	if err != nil {
		return nil, nil, []Row{unknown(groupLinks, "links", "whether each link is used", err)}
	}
	var links []link
	var rows []Row
	for _, d := range w.devices {
		attrs := d.Attrs()
		if attrs.Flags&net.FlagLoopback != 0 || slices.Contains(n.Inside, attrs.Name) {
			continue
		}
		named := slices.Contains(n.Links, attrs.Name)
		if attrs.Flags&net.FlagUp == 0 {
			if named {
				rows = append(rows, Row{
					Group: groupLinks, Check: attrs.Name, Verdict: Failed, Found: "down",
					Lost: "the link is not used", Mend: "ip link set dev " + attrs.Name + " up",
				})
			}
			continue
		}
		addresses, err := netlink.AddrList(d, netlink.FAMILY_ALL)
		if err != nil {
			rows = append(rows, unknown(groupLinks, attrs.Name, "whether the link is used", err))
			continue
		}
		for _, a := range addresses {
			l := link{device: attrs.Name, index: attrs.Index, mtu: attrs.MTU, address: address(a), intended: named}
			if usable(a) && w.leads(&l, n) {
				links = append(links, l)
			}
		}
	}
	for _, name := range n.Links {
		if !slices.ContainsFunc(w.devices, func(d netlink.Link) bool { return d.Attrs().Name == name }) {
			rows = append(rows, Row{
				Group: groupLinks, Check: name, Verdict: Warning, Found: "there is no such interface", Lost: "the link is not used",
			})
		}
	}
	rows = append(rows, foundRow(links))
	for i := range links {
		rows = append(rows, w.routingRow(n, &links[i]))
		if links[i].address.Is4() {
			rows = append(rows, filterRow(&links[i]))
		}
	}
	return w, links, rows
}

func address(a netlink.Addr) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.IP)
	return ip.Unmap()
}

// usable tells whether connections may come from an address.
func usable(a netlink.Addr) bool {
	const not = unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	return a.Scope == unix.RT_SCOPE_UNIVERSE && a.Flags&not == 0
}

// leads tells whether a link is one that leads to an aggregator, or is meant to.
func (w *network) leads(l *link, n *Needs) bool {
	same := func(a Aggregator) bool { return a.Address.Addr().Is4() == l.address.Is4() }
	if !slices.ContainsFunc(n.Aggregators, same) {
		return false
	}
	if w.endpoint(l) != nil {
		l.intended = true
	}
	return l.intended || slices.ContainsFunc(n.Aggregators, func(a Aggregator) bool {
		return same(a) && len(w.ways(a.Address.Addr(), l.index)) > 0
	})
}

// endpoint is the one that has subflows opened from a link, nil if there is none.
func (w *network) endpoint(l *link) *pm.Endpoint {
	for i, e := range w.endpoints {
		if e.Addr == l.address && e.Flags&pm.Subflow != 0 {
			return &w.endpoints[i]
		}
	}
	return nil
}

func foundRow(links []link) Row {
	var names, devices []string
	for i := range links {
		names = append(names, links[i].name())
		if !slices.Contains(devices, links[i].device) {
			devices = append(devices, links[i].device)
		}
	}
	r := good(groupLinks, "links to aggregators", "%s", orNone(names))
	switch len(devices) {
	case 0:
		r.Verdict, r.Lost = Failed, "no aggregator can be reached: no interface has an address and a route to one"
	case 1:
		r.Verdict, r.Lost = Warning, "there is no second link to use, or it has no address or no route yet"
	}
	return r
}

// routingRow looks where packets from the address of a link go.
func (w *network) routingRow(n *Needs, l *link) Row {
	check := "routes from " + l.name()
	for _, a := range n.Aggregators {
		to := a.Address.Addr()
		if to.Is4() != l.address.Is4() {
			continue
		}
		got, err := netlink.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{SrcAddr: l.address.AsSlice(), Mark: a.Mark})
		if err == nil && len(got) > 0 && got[0].LinkIndex == l.index {
			continue
		}
		r := Row{Group: groupLinks, Check: check, Verdict: severity(l.intended), Mend: w.mendRouting(l, to)}
		r.Lost = "connections from this address do not use this link, or do not come about"
		switch {
		case err != nil:
			r.Found = fmt.Sprintf("none to %s: %v", to, err)
		case len(got) > 0:
			r.Found = fmt.Sprintf("packets to %s leave by %s", to, w.deviceName(got[0].LinkIndex))
		}
		return r
	}
	return good(groupLinks, check, "they leave by %s", l.device)
}

func (w *network) deviceName(index int) string {
	for _, d := range w.devices {
		if d.Attrs().Index == index {
			return d.Attrs().Name
		}
	}
	return fmt.Sprintf("interface %d", index)
}

// ownTables is added to the number of an interface for a table of its own.
const ownTables = 100

// mendRouting is the command that has packets from a link's address leave by
// the link: a rule for a table that there is, or both.
func (w *network) mendRouting(l *link, to netip.Addr) string {
	ip := "ip"
	if !l.address.Is4() {
		ip = "ip -6"
	}
	ways := w.ways(to, l.index)
	for _, way := range ways {
		if way.table != unix.RT_TABLE_MAIN && way.table != unix.RT_TABLE_LOCAL {
			return fmt.Sprintf("%s rule add from %s table %d", ip, l.address, way.table)
		}
	}
	table := ownTables + l.index
	route := fmt.Sprintf("%s route add default dev %s table %d", ip, l.device, table)
	for _, way := range ways {
		if way.gateway != nil {
			route = fmt.Sprintf("%s route add default via %s dev %s table %d", ip, way.gateway, l.device, table)
		}
	}
	return fmt.Sprintf("%s && %s rule add from %s table %d", route, ip, l.address, table)
}

// filterRow is about the check of sources, which drops what arrives by another
// interface than the kernel would answer by.
func filterRow(l *link) Row {
	check := "source check of " + l.device
	path := "net/ipv4/conf/" + l.device + "/rp_filter"
	all, err := sysctl("net.ipv4.conf.all.rp_filter")
	var own string
	if err == nil {
		own, err = sysctlAt(path)
	}
	if err != nil {
		return unknown(groupLinks, check, "whether answers are dropped", err)
	}
	if max(all, own) != "1" { // the larger one is in force
		return good(groupLinks, check, "not strict")
	}
	return Row{
		Group: groupLinks, Check: check, Verdict: Warning, Found: "strict (rp_filter=1)",
		Lost: "packets that arrive by another link than the kernel would answer by are dropped",
		// sysctl has a slash for the dot in a name, such as that of a VLAN.
		Mend: "sysctl -w net.ipv4.conf." + strings.ReplaceAll(l.device, ".", "/") + ".rp_filter=2",
	}
}

// chosen is the interface that connections to an address leave by when they are
// bound to none, 0 if there is no route.
func (w *network) chosen(to netip.Addr, mark uint32) int {
	got, err := netlink.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{Mark: mark})
	if err != nil || len(got) == 0 {
		return 0
	}
	return got[0].LinkIndex
}
