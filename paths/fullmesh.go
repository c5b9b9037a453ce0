// SPDX-License-Identifier: Apache-2.0

package paths

import "net/netip"

// FullMesh keeps one subflow between each local address and each address of the
// peer, on connections that this end has opened.
type FullMesh struct {
	Base
	// Announce are addresses of this end that the peers of accepted connections
	// are told of, with the port to connect to, or 0 for that of the connection.
	Announce []netip.AddrPort
}

// Established opens the mesh.
func (m FullMesh) Established(c *Connection) []Action { return m.mesh(c) }

// SubflowClosed restores it.
func (m FullMesh) SubflowClosed(c *Connection, _ Subflow) []Action { return m.mesh(c) }

// PathsChanged follows the addresses.
func (m FullMesh) PathsChanged(c *Connection) []Action { return append(c.CloseLost(), m.mesh(c)...) }

func (m FullMesh) mesh(c *Connection) []Action {
	var actions []Action
	if !c.Initiator {
		for _, a := range m.Announce {
			actions = append(actions, Announce{a})
		}
		return actions
	}
	for _, p := range c.Paths {
		actions = append(actions, c.Fill(p, 1)...)
	}
	return actions
}
