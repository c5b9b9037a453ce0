// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/mptcp/pm"
	"github.com/tandem-gateway/tandem/plural"
)

const groupManager = "path manager"

// managerRows look at the kernel's path manager: who it is, what it may open,
// and from where.
func managerRows(n *Needs, w *network, links []link) []Row {
	if !n.MPTCP || mptcp.Supported() != nil {
		return nil // a row about that there is
	}
	rows := []Row{limitsRow(n, links)}
	if !n.KernelPaths {
		return rows
	}
	rows = append(rows, kindRow())
	if w == nil || devices(links) < 2 {
		return rows
	}
	missing := slices.IndexFunc(links, func(l link) bool { return w.endpoint(&l) != nil }) < 0
	for i := range links {
		rows = append(rows, w.endpointRow(&links[i], missing))
	}
	return rows
}

// devices counts the interfaces of links.
func devices(links []link) int {
	names := map[string]bool{}
	for _, l := range links {
		names[l.device] = true
	}
	return len(names)
}

func limitsRow(n *Needs, links []link) Row {
	const check = "limits"
	c, err := pm.Dial(pm.Options{})
	if err != nil {
		return unknown(groupManager, check, "how many subflows a connection may have", err)
	}
	defer c.Close()
	limits, err := c.Limits()
	if err != nil {
		return unknown(groupManager, check, "how many subflows a connection may have", err)
	}
	r := good(groupManager, check, "%s beside the first, announced addresses: %d", plural.Of(limits.Subflows, "subflow"), limits.AddAddrAccepted)
	least := uint32(0)
	if n.KernelPaths {
		least = uint32(max(devices(links)-1, 0))
	}
	if n.Joins {
		least = max(least, 1)
	}
	if limits.Subflows < least {
		r.Verdict = Failed
		r.Lost = fmt.Sprintf("connections need %s beside the first to use all links", plural.Of(least, "subflow"))
		r.Mend = "ip mptcp limits set subflow 8 add_addr_accepted 8"
	}
	return r
}

func kindRow() Row {
	const check = "kind"
	kind, err := mptcp.PathManager()
	if err != nil {
		return unknown(groupManager, check, "whether the kernel opens subflows", err)
	}
	r := good(groupManager, check, "%s", kind)
	if kind == mptcp.PathManagerUserspace {
		r.Verdict = Failed
		r.Lost = "nobody opens subflows, unless a daemon such as mptcpd does"
		r.Mend = "sysctl -w net.mptcp.pm_type=0"
	}
	return r
}

// endpointRow is about the endpoint of a link; none says that no link has one.
func (w *network) endpointRow(l *link, none bool) Row {
	check := "endpoint of " + l.name()
	if e := w.endpoint(l); e != nil {
		return good(groupManager, check, "id %d, %s", e.ID, e.Flags)
	}
	return Row{
		Group: groupManager, Check: check, Verdict: severity(none), Found: "none",
		Lost: "connections that begin on another link do not use this one",
		Mend: fmt.Sprintf("ip mptcp endpoint add %s dev %s subflow", l.address, l.device),
	}
}
