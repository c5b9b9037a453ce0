// SPDX-License-Identifier: Apache-2.0

package capacity

import (
	"errors"
	"fmt"
	"time"
)

// Assumptions are what subscribers do in the busiest hour, and what a machine
// has. None of them is measured.
type Assumptions struct {
	// Subscribers of the region.
	Subscribers float64 `json:"subscribers"`
	// Active is the share of them that carries data in the busiest hour.
	Active float64 `json:"active"`
	// Mbit is Mbit/s of an active subscriber on average over that hour, both
	// directions together.
	Mbit float64 `json:"mbit"`
	// Connections are new ones of an active subscriber in that hour, which live
	// for Lifetime on average.
	Connections float64       `json:"connections_per_hour"`
	Lifetime    time.Duration `json:"lifetime_ns"`
	// Tunnels are idle connections of every subscriber, active or not.
	Tunnels float64 `json:"idle_tunnels"`
	// RoundTrip to the subscriber: what it has not acknowledged is in memory.
	RoundTrip time.Duration `json:"round_trip_ns"`
	// HeadRoom is the share of a machine that is to stay free: for peaks within
	// the hour, for machines that fail, and for the work of network cards, which
	// is not measured.
	HeadRoom float64 `json:"head_room"`
	// Cores, Memory (bytes) and Link (bit/s in each direction) of a machine, and
	// what of its memory the rest of the system takes.
	Cores    float64 `json:"cores"`
	Memory   float64 `json:"memory_bytes"`
	Reserved float64 `json:"reserved_bytes"`
	Link     float64 `json:"link_bits_per_s"`
}

// Defaults are those that the calculator begins with: round numbers of a region
// with fixed and mobile accesses, and of a usual machine, to be replaced by
// one's own.
func Defaults() Assumptions {
	return Assumptions{
		Subscribers: 1e6, Active: 0.5, Mbit: 5, Connections: 600, Lifetime: 30 * time.Second, Tunnels: 20,
		RoundTrip: 60 * time.Millisecond, HeadRoom: 0.4,
		Cores: 16, Memory: 64e9, Reserved: 4e9, Link: 100e9,
	}
}

// ErrAssumption tells that an assumption cannot be.
var ErrAssumption = errors.New("not possible")

// Validate wants what can be. The error wraps [ErrAssumption].
func (a *Assumptions) Validate() error {
	for _, x := range []struct {
		name     string
		value    float64
		positive bool
	}{
		{"number of subscribers", a.Subscribers, true}, {"share of active subscribers", a.Active, false},
		{"rate", a.Mbit, false}, {"number of connections", a.Connections, false}, {"lifetime", a.Lifetime.Seconds(), false},
		{"number of idle tunnels", a.Tunnels, false}, {"round trip", a.RoundTrip.Seconds(), false}, {"head room", a.HeadRoom, false},
		{"number of cores", a.Cores, true}, {"memory", a.Memory, true}, {"reserved memory", a.Reserved, false}, {"link", a.Link, true},
	} {
		if x.value < 0 || x.positive && x.value == 0 {
			return fmt.Errorf("a %s of %v is %w", x.name, x.value, ErrAssumption)
		}
	}
	switch {
	case a.Active > 1:
		return fmt.Errorf("a share of active subscribers of %v is %w", a.Active, ErrAssumption)
	case a.HeadRoom >= 1:
		return fmt.Errorf("a head room of %v is %w", a.HeadRoom, ErrAssumption)
	case a.Reserved >= a.Memory:
		return fmt.Errorf("more reserved memory than there is: %w", ErrAssumption)
	}
	return nil
}
