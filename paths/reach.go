// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"slices"
	"time"
)

// setRemotes begins the list of the peer's addresses. Where the peer opened the
// connection nobody listens at the address that it came from.
func (c *conn) setRemotes() {
	if c.Initiator && !c.denies0 && !slices.ContainsFunc(c.Remotes, func(r Remote) bool { return r.ID == 0 }) {
		c.Remotes = slices.Insert(c.Remotes, 0, Remote{0, c.First.Remote})
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

// findPaths asks which paths there are, and reports whether that has changed.
// Paths that are new have another chance at once.
func (e *Engine) findPaths(c *conn) bool {
	var found []Path
	if !c.policy.passive() && !e.o.Observe {
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
	}
	if slices.Equal(found, c.Paths) {
		return false
	}
	for _, p := range found {
		if !c.Has(p) {
			delete(c.trouble, p)
			for i := range c.Subflows {
				if s := &c.Subflows[i]; s.State == Waiting && s.Path == p {
					s.due = s.Since
				}
			}
		}
	}
	c.Paths = found
	return true
}

// pathsChanged tells the manager, if paths did change.
func (e *Engine) pathsChanged(c *conn, now time.Time) {
	if c.started && e.findPaths(c) {
		e.tell(c, now, Manager.PathsChanged)
	}
	e.schedule(c)
}

// networkChanged looks at addresses, links and routes again.
func (e *Engine) networkChanged(now time.Time) {
	e.counters.NetworkChanges++
	if err := e.net.read(); err != nil {
		e.log.Error("cannot read the addresses of this host", "error", err)
		e.readAt = now.Add(time.Second)
		return
	}
	for _, c := range e.conns {
		e.pathsChanged(c, now)
	}
}
