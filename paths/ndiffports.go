// SPDX-License-Identifier: Apache-2.0

package paths

// NDiffPorts keeps N subflows between the same two addresses, for networks that
// treat, or limit, each TCP connection separately.
type NDiffPorts struct {
	Base
	N int
}

// Established opens the others.
func (m NDiffPorts) Established(c *Connection) []Action { return m.fill(c) }

// SubflowClosed restores it.
func (m NDiffPorts) SubflowClosed(c *Connection, _ Subflow) []Action { return m.fill(c) }

// PathsChanged moves to another path if there is no route any more.
func (m NDiffPorts) PathsChanged(c *Connection) []Action { return append(c.CloseLost(), m.fill(c)...) }

func (m NDiffPorts) fill(c *Connection) []Action {
	home, ok := c.Home()
	if !ok || !c.Initiator {
		return nil
	}
	return c.Fill(home, m.N)
}
