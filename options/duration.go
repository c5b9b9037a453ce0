// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"strings"
	"time"
)

var errDuration = errors.New("not a duration with a unit")

// parseDuration reads a duration and rounds it up to whole units, so that what
// is not 0 does not become it.
func parseDuration(text string, unit, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, errDuration
	case d < 0 || d > most:
		return 0, ErrRange
	}
	return (d + unit - 1) / unit * unit, nil
}

// printDuration leaves out the units that are 0: "5m", not "5m0s".
func printDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// inUnits is the descriptor of an option whose value is a number of units, up
// to most.
func inUnits(unit, most time.Duration) descriptor {
	return descriptor{
		parse: func(text string) (Value, error) {
			d, err := parseDuration(text, unit, most)
			return Value(d / unit), err
		},
		print: func(v Value) string { return printDuration(time.Duration(v) * unit) },
		check: func(v Value) (Value, error) {
			if time.Duration(v) > most/unit {
				return 0, ErrRange
			}
			return v, nil
		},
		// 0 leaves it to the kernel and is not to be capped.
		atMost: func(v, limit Value) Value { return min(v, limit) },
	}
}
