// SPDX-License-Identifier: Apache-2.0

package options

import "time"

const (
	// MaxUserTimeout is the longest user-timeout that can be written: 546 hours and 7
	// minutes.
	MaxUserTimeout = userTimeouts * time.Minute

	inMinutes    = 1 << 15 // the granularity bit of RFC 5482 section 3.1
	userTimeouts = inMinutes - 1
)

// UserTimeout is what a value of UserTimeout means; 0 leaves it to the kernel.
func (v Value) UserTimeout() time.Duration {
	if v&inMinutes != 0 {
		return time.Duration(v&userTimeouts) * time.Minute
	}
	return time.Duration(v&userTimeouts) * time.Second
}

// UserTimeoutValue is in seconds where they fit, and else in minutes. It may be
// out of range: see Option.Check.
func UserTimeoutValue(d time.Duration) Value {
	if s := (d + time.Second - 1) / time.Second; s <= userTimeouts {
		return Value(s)
	}
	m := (d + time.Minute - 1) / time.Minute
	if m > userTimeouts {
		return 2 * inMinutes
	}
	return inMinutes | Value(m)
}

var userTimeout = descriptor{
	name:    "user-timeout",
	takes:   "a duration of at most 546h, such as 2m",
	about:   "how long data may stay unacknowledged before a path is given up",
	example: "1m",
	parse: func(text string) (Value, error) {
		d, err := parseDuration(text, time.Second, MaxUserTimeout)
		return UserTimeoutValue(d), err
	},
	print: func(v Value) string { return printDuration(v.UserTimeout()) },
	check: func(v Value) (Value, error) {
		if v > inMinutes|userTimeouts {
			return 0, ErrRange
		}
		return UserTimeoutValue(v.UserTimeout()), nil
	},
	atMost: func(v, limit Value) Value {
		return UserTimeoutValue(min(v.UserTimeout(), limit.UserTimeout()))
	},
	onSubflow: func(v Value) (uint32, error) { return uint32(v.UserTimeout().Milliseconds()), nil },
}
