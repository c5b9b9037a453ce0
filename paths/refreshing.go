// SPDX-License-Identifier: Apache-2.0

package paths

import "time"

// Refreshing re-creates subflows at once when they die, and, if MaxAge is set,
// replaces those that reach it, for networks that slow down long TCP
// connections. What should exist is decided by another Manager, which restores
// it.
type Refreshing struct {
	Over   Manager       // nil is one subflow: NDiffPorts{N: 1}
	MaxAge time.Duration // 0 is none
}

func (m Refreshing) over() Manager {
	if m.Over == nil {
		return NDiffPorts{N: 1}
	}
	return m.Over
}

// Established begins to count the age of the first subflow.
func (m Refreshing) Established(c *Connection) []Action {
	return append(m.over().Established(c), m.wake()...)
}

// SubflowOpened closes the old subflow that the new one replaces.
func (m Refreshing) SubflowOpened(c *Connection, s Subflow) []Action {
	actions := append(m.over().SubflowOpened(c, s), m.wake()...)
	for _, old := range c.Subflows {
		if m.aged(c, old) && old.Path == s.Path {
			return append(actions, Close{Subflow: old, Cause: Replaced})
		}
	}
	return actions
}

// SubflowClosed restores the subflow.
func (m Refreshing) SubflowClosed(c *Connection, s Subflow) []Action {
	return append(m.over().SubflowClosed(c, s), m.renew(c)...)
}

// PathsChanged is left to the other Manager.
func (m Refreshing) PathsChanged(c *Connection) []Action { return m.over().PathsChanged(c) }

// Due opens a new subflow beside each that is too old.
func (m Refreshing) Due(c *Connection) []Action {
	return append(m.over().Due(c), m.renew(c)...)
}

func (m Refreshing) wake() []Action {
	if m.MaxAge == 0 {
		return nil
	}
	return []Action{Wake{After: m.MaxAge}}
}

func (m Refreshing) aged(c *Connection, s Subflow) bool {
	return m.MaxAge > 0 && c.Initiator && s.State == Established && c.Now.Sub(s.Since) >= m.MaxAge
}

// renew opens as many subflows on each path as there are old ones without a
// successor.
func (m Refreshing) renew(c *Connection) []Action {
	missing := make(map[Path]int)
	for _, s := range c.Subflows {
		switch {
		case m.aged(c, s):
			missing[s.Path]++
		case s.State != Established && s.State != Withheld:
			missing[s.Path]--
		}
	}
	var actions []Action
	for _, p := range c.Paths {
		for range missing[p] {
			actions = append(actions, Open{Path: p})
		}
	}
	return actions
}
