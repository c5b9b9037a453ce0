// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// keep is how long a result is used again: long enough for the burst of
	// connections with which a browser loads a page, too short for anybody
	// to notice that the time to live of the records is not known here.
	keep = 5 * time.Second
	// maxNames bounds the memory of the cache.
	maxNames = 4096
)

// cache keeps results for a moment. Its zero value is empty and ready.
type cache struct {
	mu    sync.Mutex
	names map[string]entry
}

type entry struct {
	addrs   []netip.Addr // shared, never changed
	expires time.Time
}

// find returns the addresses of a name, nil if they are not known.
func (c *cache) find(name string, now time.Time) []netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.names[name]
	if !ok || now.After(e.expires) {
		return nil
	}
	return e.addrs
}

// store keeps addresses of a name from now on. A full cache forgets what has
// expired, or else any of its names.
func (c *cache) store(name string, addrs []netip.Addr, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = make(map[string]entry)
	}
	if _, known := c.names[name]; !known && len(c.names) >= maxNames {
		c.evict(now)
	}
	c.names[name] = entry{addrs, now.Add(keep)}
}

func (c *cache) evict(now time.Time) {
	for name, e := range c.names {
		if now.After(e.expires) {
			delete(c.names, name)
		}
	}
	for name := range c.names {
		if len(c.names) < maxNames*3/4 {
			return
		}
		delete(c.names, name)
	}
}
