// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"

	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// Kernel does what the in-kernel path manager would, from the endpoints and
// limits of the namespace (ip-mptcp(8)), for connections that cannot have it
// because others in the namespace have a manager of this package. Unlike the
// in-kernel one it restores what is lost.
type Kernel struct{ Base }

// Established announces and opens what the endpoints say.
func (m Kernel) Established(c *Connection) []Action {
	var actions []Action
	for _, e := range c.Endpoints {
		if e.Flags&pm.Signal != 0 {
			actions = append(actions, Announce{netip.AddrPortFrom(e.Addr, e.Port)})
		}
	}
	return append(actions, m.open(c)...)
}

// SubflowClosed restores it.
func (m Kernel) SubflowClosed(c *Connection, _ Subflow) []Action { return m.open(c) }

// PathsChanged follows the addresses.
func (m Kernel) PathsChanged(c *Connection) []Action { return append(c.CloseLost(), m.open(c)...) }

// open opens the subflows that are missing, within the limits.
func (m Kernel) open(c *Connection) []Action {
	room := int(c.Limits.Subflows) + 1 - c.kept()
	var actions []Action
	for _, want := range m.wanted(c) {
		if room > 0 && c.Has(want.Path) && c.On(want.Path) == 0 {
			actions = append(actions, want)
			room--
		}
	}
	return actions
}

// wanted are the subflows that there should be: from each endpoint to the first
// address of the peer, or to all with fullmesh; and to each announced address
// from the endpoints with fullmesh, or, without one, from where the connection
// is.
func (m Kernel) wanted(c *Connection) []Open {
	var wanted []Open
	home, ok := c.Home()
	if ok && c.Initiator {
		wanted = append(wanted, Open{Path: home})
	}
	mesh := false
	for _, e := range c.Endpoints {
		if e.Flags&pm.Subflow == 0 {
			continue
		}
		full := e.Flags&pm.Fullmesh != 0
		mesh = mesh || full
		for _, r := range m.accepted(c) {
			if full || r.Addr == c.First.Remote {
				wanted = append(wanted, Open{Path: Path{e.Addr, r.Addr}, Backup: e.Flags&pm.Backup != 0})
			}
		}
	}
	if mesh || !ok {
		return wanted
	}
	for _, r := range m.accepted(c) {
		for _, p := range c.Paths {
			if r.ID != 0 && p.Remote == r.Addr && (p.Local == home.Local || p.Local.Is4() != home.Local.Is4()) {
				wanted = append(wanted, Open{Path: p})
				break
			}
		}
	}
	return wanted
}

// accepted are the addresses of the peer that may be used.
func (m Kernel) accepted(c *Connection) []Remote {
	var accepted []Remote
	announced := uint32(0)
	for _, r := range c.Remotes {
		if r.ID != 0 {
			if announced++; announced > c.Limits.AddAddrAccepted {
				continue
			}
		}
		accepted = append(accepted, r)
	}
	return accepted
}
