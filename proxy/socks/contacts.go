// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"net/netip"
	"sync"
)

// maxContacts is how many hosts an association remembers at least.
const maxContacts = 512

// contacts are the hosts that the client has sent to lately: only they may
// send to it. Two generations bound the memory and forget the oldest. The zero
// value is empty and ready.
type contacts struct {
	mu            sync.Mutex
	young, former map[netip.Addr]struct{}
}

func (c *contacts) add(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.young[a]; known {
		return
	}
	if c.young == nil || len(c.young) >= maxContacts {
		c.former, c.young = c.young, make(map[netip.Addr]struct{})
	}
	c.young[a] = struct{}{}
}

func (c *contacts) has(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.young[a]; known {
		return true
	}
	_, known := c.former[a]
	return known
}
