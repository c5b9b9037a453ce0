// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

// rateInterval is over how long Delaying measures.
const rateInterval = time.Second

// Delaying leaves connections with one subflow until the first of its
// conditions holds, so that short ones cost nothing more, and to another
// Manager from then on. It does not wait on connections that have lost their
// subflow.
type Delaying struct {
	Then  Manager       // nil is FullMesh
	Bytes uint64        // both ways; 0 is no such condition
	After time.Duration // since the beginning; 0 is no such condition
	// Below is a target in bit/s, both ways: a connection that carries data,
	// but less than that over a second, gets more subflows. 0 is no such condition.
	Below float64
}

func (m Delaying) then() Manager {
	if m.Then == nil {
		return FullMesh{}
	}
	return m.Then
}

// ready tells from the state of the connection alone, and stays true: subflows
// that were opened for a low rate are not given up for a high one.
func (m Delaying) ready(c *Connection) bool {
	return c.Extra > 0 || c.Working() == 0 ||
		m.Bytes > 0 && c.Bytes >= m.Bytes ||
		m.After > 0 && c.Age() >= m.After ||
		m.Below > 0 && c.Rate > 0 && c.Rate < m.Below
}

// Established begins to wait.
func (m Delaying) Established(c *Connection) []Action {
	if m.ready(c) {
		return m.then().Established(c)
	}
	var actions []Action
	if m.Bytes > 0 {
		actions = append(actions, Watch{Bytes: m.Bytes})
	}
	if m.After > 0 {
		actions = append(actions, Wake{After: m.After - c.Age()})
	}
	return append(actions, m.measure()...)
}

func (m Delaying) measure() []Action {
	if m.Below == 0 {
		return nil
	}
	return []Action{Wake{After: rateInterval}}
}

// Due goes on if a condition holds.
func (m Delaying) Due(c *Connection) []Action {
	var actions []Action
	if m.ready(c) {
		actions = append(m.then().Established(c), m.then().Due(c)...)
	}
	if c.Extra > 0 {
		return actions
	}
	return append(actions, m.measure()...) // until there is another subflow
}

// SubflowOpened is left to the other Manager.
func (m Delaying) SubflowOpened(c *Connection, s Subflow) []Action {
	return m.then().SubflowOpened(c, s)
}

// SubflowClosed is left to the other Manager if a condition holds.
func (m Delaying) SubflowClosed(c *Connection, s Subflow) []Action {
	if !m.ready(c) {
		return nil
	}
	return m.then().SubflowClosed(c, s)
}

// PathsChanged is left to the other Manager if a condition holds.
func (m Delaying) PathsChanged(c *Connection) []Action {
	if !m.ready(c) {
		return c.CloseLost()
	}
	return m.then().PathsChanged(c)
}
