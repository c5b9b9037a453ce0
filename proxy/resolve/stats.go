// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"errors"
	"sync/atomic"
)

// Counters count the lookups of one resolver or several.
type Counters struct{ lookups, cached, noSuchHost, failed atomic.Uint64 }

// Stats are what was looked up. The text of an address is not.
type Stats struct {
	Lookups    uint64
	Cached     uint64 // those of them that needed no query
	NoSuchHost uint64 // those whose names have no addresses
	Failed     uint64 // those without an answer
}

// Stats returns a copy.
func (c *Counters) Stats() Stats {
	return Stats{c.lookups.Load(), c.cached.Load(), c.noSuchHost.Load(), c.failed.Load()}
}

func (c *Counters) failure(err error) {
	if errors.Is(err, ErrNoSuchHost) {
		c.noSuchHost.Add(1)
	} else {
		c.failed.Add(1)
	}
}
