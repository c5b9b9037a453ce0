// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"fmt"
	"math"
	"time"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// DefaultReduced is the rate after a quota for which none is given, in bytes per
// second: 64 kbit/s.
const DefaultReduced = 8000

// Policy is what a subscriber may do. The zero value has no limits.
type Policy struct {
	Connections  int     // at once; 0: no limit
	NewPerSecond float64 // new connections in the long run; 0: no limit
	Burst        int     // new connections at once after a pause; 0: NewPerSecond, rounded up
	Up, Down     uint64  // bytes per second of all connections together; 0: no limit
	Quota        Quota
	Options      options.Set // of the connections, where nobody asks for others
	// Caps bound what its clients may ask for beside those of the listener, but
	// for Trusted.
	Caps options.Caps
	// Destinations are where connections may go, beside what the listener
	// says; nil: everywhere.
	Destinations *policy.Destinations
	// Lifetime is how long a session may last, Idle how long one may go on
	// without a byte; its connections are ended then. 0: for ever.
	Lifetime, Idle time.Duration
}

// Quota is how many bytes a subscriber may move in both directions together.
type Quota struct {
	Bytes   uint64 // 0: no quota
	Period  Period
	Reduced uint64 // bytes per second in each direction afterwards; 0: DefaultReduced
}

// rate is what is left of a rate after the quota.
func (q Quota) rate(before uint64) uint64 {
	reduced := q.Reduced
	if reduced == 0 {
		reduced = DefaultReduced
	}
	if before == 0 {
		return reduced
	}
	return min(before, reduced)
}

// Period is how long a quota is for. All begin at midnight UTC or at a full hour;
// weeks begin on Monday.
type Period uint8

// The periods.
const (
	Month Period = iota
	Week
	Day
	Hour
	periods
)

var periodNames = [periods]string{"month", "week", "day", "hour"}

func (p Period) String() string {
	if p < periods {
		return periodNames[p]
	}
	return fmt.Sprintf("period %d", uint8(p))
}

// ParsePeriod is the inverse of Period.String.
func ParsePeriod(s string) (Period, error) {
	for p, name := range periodNames {
		if s == name {
			return Period(p), nil
		}
	}
	return 0, fmt.Errorf("%q is no period: want month, week, day or hour", s)
}

// Start is when the period that holds a moment began.
func (p Period) Start(t time.Time) time.Time {
	t = t.UTC()
	year, month, day := t.Date()
	switch p {
	case Hour:
		return t.Truncate(time.Hour)
	case Day:
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	case Week:
		sinceMonday := (int(t.Weekday()) + 6) % 7
		return time.Date(year, month, day-sinceMonday, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
}

// End is when the period that began at a moment ends.
func (p Period) End(start time.Time) time.Time {
	switch p {
	case Hour:
		return start.Add(time.Hour)
	case Day:
		return start.AddDate(0, 0, 1)
	case Week:
		return start.AddDate(0, 0, 7)
	}
	return start.AddDate(0, 1, 0)
}

// Changes are parts of a policy that somebody else decides on than whoever wrote
// it. What is nil stays.
type Changes struct {
	Policy       string // name of the policy that is changed; "": the one before
	Connections  *int
	NewPerSecond *float64
	Up, Down     *uint64
	Quota        *uint64
	Period       *Period
	Reduced      *uint64
	Options      *options.Set
	Lifetime     *time.Duration
	Idle         *time.Duration

	// What clients may ask for: those of Policy.Caps.
	MaxOptions         *options.Set
	ForbidOptions      *[]options.Option
	CongestionControls *[]string
}

// Apply returns p with the changes, except for that of Changes.Policy.
func (c *Changes) Apply(p Policy) Policy {
	set(&p.Connections, c.Connections)
	set(&p.NewPerSecond, c.NewPerSecond)
	if c.NewPerSecond != nil {
		p.Burst = 0
	}
	set(&p.Up, c.Up)
	set(&p.Down, c.Down)
	set(&p.Quota.Bytes, c.Quota)
	set(&p.Quota.Period, c.Period)
	set(&p.Quota.Reduced, c.Reduced)
	set(&p.Lifetime, c.Lifetime)
	set(&p.Idle, c.Idle)
	if c.Options != nil {
		p.Options = c.Options.Over(p.Options)
	}
	if c.MaxOptions != nil {
		p.Caps.Max = c.MaxOptions.Over(p.Caps.Max)
	}
	set(&p.Caps.Forbid, c.ForbidOptions)
	set(&p.Caps.CongestionControls, c.CongestionControls)
	return p
}

// Over returns the changes with those of before that they say nothing about.
// One that names a policy begins anew.
func (c Changes) Over(before Changes) Changes {
	if c.Policy != "" {
		return c
	}
	keep(&c.Connections, before.Connections)
	keep(&c.NewPerSecond, before.NewPerSecond)
	keep(&c.Up, before.Up)
	keep(&c.Down, before.Down)
	keep(&c.Quota, before.Quota)
	keep(&c.Period, before.Period)
	keep(&c.Reduced, before.Reduced)
	keep(&c.Options, before.Options)
	keep(&c.Lifetime, before.Lifetime)
	keep(&c.Idle, before.Idle)
	keep(&c.MaxOptions, before.MaxOptions)
	keep(&c.ForbidOptions, before.ForbidOptions)
	keep(&c.CongestionControls, before.CongestionControls)
	c.Policy = before.Policy
	return c
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func keep[T any](to **T, before *T) {
	if *to == nil {
		*to = before
	}
}

// burst is how many connections may begin at once.
func (p *Policy) burst() int {
	if p.Burst > 0 {
		return p.Burst
	}
	return max(1, int(math.Ceil(p.NewPerSecond)))
}
