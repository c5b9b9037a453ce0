// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const groupOwn = "what the configuration names"

// ownRows look for addresses, interfaces and users of this machine that the
// configuration names.
func ownRows(n *Needs) []Row {
	var rows []Row
	for _, a := range n.Addresses {
		rows = append(rows, addressesRow(&a))
	}
	for _, d := range n.Devices {
		rows = append(rows, deviceRow(&d))
	}
	if n.User != "" {
		rows = append(rows, userRow(n.User))
	}
	if n.Group != "" {
		rows = append(rows, groupRow(n.Group))
	}
	return rows
}

// Delivered reports whether this machine takes packets to an address as its own:
// because it has the address, or a route of type local.
func Delivered(a netip.Addr) bool {
	routes, err := netlink.RouteGet(a.Unmap().WithZone("").AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

func addressesRow(a *Addresses) Row {
	var missing, commands []string
	for _, address := range a.List {
		if address.IsUnspecified() || address.IsLoopback() || Delivered(address) {
			continue
		}
		missing = append(missing, address.String())
		if a.Routed {
			commands = append(commands, fmt.Sprintf("ip route add local %s dev lo", address))
		} else {
			commands = append(commands, fmt.Sprintf("ip address add %s dev lo", netip.PrefixFrom(address, address.BitLen())))
		}
	}
	check := "addresses of " + a.Of
	if len(missing) == 0 {
		return good(groupOwn, check, "this machine's")
	}
	r := Row{
		Group: groupOwn, Check: check, Verdict: Failed, Found: "not of this machine: " + strings.Join(missing, ", "),
		Lost: "Tandem does not start, unless an interface is yet to get them", Mend: strings.Join(commands, " && "),
	}
	if a.Routed {
		r.Lost = "connections from there fail: the answers of servers are not taken in"
	}
	return r
}

func deviceRow(d *Device) Row {
	check := fmt.Sprintf("interface %s of %s", d.Name, d.Of)
	i, err := net.InterfaceByName(d.Name)
	switch {
	case err != nil:
		return Row{Group: groupOwn, Check: check, Verdict: severity(!d.MayCome), Found: "not there; there are " + strings.Join(interfaceNames(), ", "), Lost: d.Lost}
	case i.Flags&net.FlagUp == 0:
		return Row{Group: groupOwn, Check: check, Verdict: Warning, Found: "down", Lost: d.Lost, Mend: "ip link set dev " + d.Name + " up"}
	}
	return good(groupOwn, check, "up")
}

func interfaceNames() (names []string) {
	all, _ := net.Interfaces()
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

func userRow(name string) Row {
	const check = "rights.user"
	if _, err := user.Lookup(name); err == nil {
		return good(groupOwn, check, "%s", name)
	}
	if _, err := user.LookupId(name); err == nil {
		return good(groupOwn, check, "%s", name)
	}
	return Row{
		Group: groupOwn, Check: check, Verdict: Failed, Found: "there is no user " + name,
		Lost: "Tandem does not start", Mend: "useradd --system --no-create-home --shell /usr/sbin/nologin " + name,
	}
}

func groupRow(name string) Row {
	const check = "admin.group"
	if _, err := user.LookupGroup(name); err == nil {
		return good(groupOwn, check, "%s", name)
	}
	return Row{
		Group: groupOwn, Check: check, Verdict: Failed, Found: "there is no group " + name,
		Lost: "operators cannot reach Tandem: status and other commands do not work", Mend: "groupadd --system " + name,
	}
}
