// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"slices"
	"time"
)

// setRemotes puts the peer's address of the first subflow into the list. Where
// the peer opened the connection nobody listens there.
func (c *conn) setRemotes() {
	first := slices.IndexFunc(c.Remotes, func(r Remote) bool { return r.ID == 0 })
	switch wanted := c.Initiator && !c.denies0; {
	case wanted && first < 0:
		c.Remotes = slices.Insert(c.Remotes, 0, Remote{0, c.First.Remote})
	case !wanted && first >= 0:
		c.Remotes = slices.Delete(c.Remotes, first, first+1)
	}
}

func (c *conn) announced(r Remote) {
	c.removed(r.ID)
	c.Remotes = append(c.Remotes, r)
}

func (c *conn) removed(id uint8) {
	c.Remotes = slices.DeleteFunc(c.Remotes, func(r Remote) bool { return r.ID == id })
	if id == 0 {
		c.denies0 = true
	}
}

// findPaths asks which paths there are, and reports whether that has changed, or
// subflows have lost theirs.
// Paths that are new have another chance at once.
func (e *Engine) findPaths(c *conn) bool {
	if !c.adopted || !c.known() || c.policy.passive() || e.o.Observe {
		return false
	}
	c.setRemotes()
	lost := e.findLost(c)
	var found []Path
	for _, a := range e.net.addresses {
		if !c.policy.uses(a.device) || c.only4 && !a.Is4() {
			continue
		}
		for _, r := range c.Remotes {
			if e.net.reaches(a, r.Addr.Addr()) {
				found = append(found, Path{a.Addr, r.Addr})
			}
		}
	}
	if slices.Equal(found, c.Paths) {
		return lost
	}
	for _, p := range found {
		if !c.Has(p) {
			c.another(p)
		}
	}
	c.Paths = found
	return true
}

// findLost marks the subflows that have lost their route, and reports whether
// there are new ones. Subflows that never had one, such as those from an address
// of somebody else (IP_TRANSPARENT), are none of them.
func (e *Engine) findLost(c *conn) bool {
	some := false
	for i := range c.Subflows {
		s := &c.Subflows[i]
		if s.State == Withheld {
			continue
		}
		a, ok := e.net.find(s.Local)
		reaches := ok && e.net.reaches(a, s.Remote.Addr())
		s.routed = s.routed || reaches
		some = some || s.routed && !reaches && !s.Lost
		s.Lost = s.routed && !reaches
		s.heir = s.heir && s.Lost
	}
	return some
}

// pathsChanged tells the manager, if paths did change.
func (e *Engine) pathsChanged(c *conn, now time.Time) {
	changed := e.findPaths(c)
	if c.adopted && c.known() {
		c.count(now, PathLost)
	}
	if changed && len(c.drains) > 0 {
		c.drainAt = now
	}
	if changed && c.started {
		e.tell(c, now, Manager.PathsChanged)
	}
	e.schedule(c)
}

// networkChanged looks at addresses, links and routes again.
func (e *Engine) networkChanged(now time.Time) {
	e.counters.NetworkChanges++
	if err := e.net.read(); err != nil {
		e.log.Error("cannot read the addresses of this host", "err", err)
		e.readAt = now.Add(time.Second)
		return
	}
	for _, c := range e.conns {
		c.forgive()
		e.pathsChanged(c, now)
	}
}
