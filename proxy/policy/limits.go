// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Defaults of LimitsConfig.
const (
	DefaultIPv4Bits    = 32
	DefaultIPv6Bits    = 56 // what an access line gets as a rule: one subscriber (RFC 6177)
	DefaultMaxPrefixes = 1 << 16
)

// LimitsConfig says how many connections there may be. A limit of 0 is none.
type LimitsConfig struct {
	Total     int // connections at once
	PerSource int // connections at once from one source prefix
	Pending   int // connections of one source prefix whose handshake is not done

	// Rate is how many new connections per second one source prefix may open
	// in the long run, Burst how many at once after a pause; 0 means Rate
	// rounded up.
	Rate  float64
	Burst int

	// IPv4Bits and IPv6Bits are the lengths of source prefixes;
	// 0 means DefaultIPv4Bits and DefaultIPv6Bits.
	IPv4Bits, IPv6Bits int

	// MaxPrefixes bounds the memory for source prefixes (about 100 bytes each);
	// 0 means DefaultMaxPrefixes. Connections of further prefixes are refused
	// as soon as each prefix known has a connection.
	MaxPrefixes int
}

// Validate says what is wrong with the configuration.
func (c LimitsConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, v := range []struct {
		name  string
		value int
		max   int
	}{
		{"total connections", c.Total, math.MaxInt32},
		{"connections per source", c.PerSource, math.MaxInt32},
		{"pending connections per source", c.Pending, math.MaxInt32},
		{"burst of new connections", c.Burst, math.MaxInt32},
		{"length of IPv4 source prefixes", c.IPv4Bits, 32},
		{"length of IPv6 source prefixes", c.IPv6Bits, 128},
		{"number of source prefixes", c.MaxPrefixes, math.MaxInt32},
	} {
		if v.value < 0 || v.value > v.max {
			bad("%s: %d is not in 0-%d", v.name, v.value, v.max)
		}
	}
	// Beyond these, times between connections do not fit nanoseconds.
	const slowest, fastest = 1e-6, 1e9
	switch {
	case c.Rate == 0 && c.Burst != 0:
		bad("burst of new connections: %d without a rate", c.Burst)
	case c.Rate != 0 && !(c.Rate >= slowest && c.Rate <= fastest):
		bad("rate of new connections: %v per second is not 0 or in %v-%v", c.Rate, slowest, fastest)
	case float64(c.Burst) > c.Rate*maxRefill.Seconds():
		bad("burst of new connections: %d takes more than %v to refill", c.Burst, maxRefill)
	}
	return errors.Join(errs...)
}

// maxRefill is how long an empty bucket may take to be full again. It bounds
// how long a prefix without connections is remembered.
const maxRefill = 30 * 24 * time.Hour

// limits is a LimitsConfig with its defaults filled in.
type limits struct {
	LimitsConfig
	interval int64 // ns per new connection; 0: no limit
	ahead    int64 // ns that the schedule of a prefix may run ahead of now
}

func (c LimitsConfig) withDefaults() *limits {
	if c.IPv4Bits == 0 {
		c.IPv4Bits = DefaultIPv4Bits
	}
	if c.IPv6Bits == 0 {
		c.IPv6Bits = DefaultIPv6Bits
	}
	if c.MaxPrefixes == 0 {
		c.MaxPrefixes = DefaultMaxPrefixes
	}
	l := &limits{LimitsConfig: c}
	if c.Rate > 0 {
		if l.Burst == 0 {
			l.Burst = int(math.Ceil(c.Rate))
		}
		l.interval = int64(float64(time.Second) / c.Rate)
		l.ahead = int64(l.Burst-1) * l.interval
	}
	return l
}

// perPrefix reports whether any limit needs counting by prefix.
func (l *limits) perPrefix() bool { return l.PerSource > 0 || l.Pending > 0 || l.interval > 0 }
