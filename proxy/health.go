// SPDX-License-Identifier: Apache-2.0

package proxy

import "time"

const (
	// maxPatience bounds how many times as many successes a hop needs that
	// keeps going down.
	maxPatience = 16
	// calm is how long a hop has to stay up for its past to be forgotten.
	calm = 5 * time.Minute
)

// health is whether a hop is up. It does not follow a hop that comes and goes:
// each time that it went down since it was last up for long, it needs twice as
// many successes to be up again.
type health struct {
	rise, fall int

	up        bool
	since     time.Time // when up became what it is
	failures  int       // in a row
	successes int       // in a row, while down
	patience  int       // factor of rise
}

// note takes a success or failure into account and reports whether up has
// changed. A failure that is final needs no other.
func (h *health) note(well, final bool, now time.Time) (changed bool) {
	if well {
		h.failures = 0
	} else {
		h.failures++
		h.successes = 0
	}
	switch {
	case h.up && (h.failures >= h.fall || final && !well):
		if now.Sub(h.since) >= calm {
			h.patience = 0
		}
		h.patience = min(max(2*h.patience, 1), maxPatience)
	case !h.up && well:
		h.successes++
		if h.successes < h.rise*h.patience {
			return false
		}
	default:
		return false
	}
	h.up, h.since, h.successes = !h.up, now, 0
	return true
}
