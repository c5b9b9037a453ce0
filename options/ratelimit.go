// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// MinRate is the lowest rate of a path, in bit/s: a full segment takes 0.2
	// seconds. Below it one path stalls the whole connection, because the bytes
	// that were given to it are waited for.
	MinRate = 64_000
	// MaxRate is the highest rate that can be written, in bit/s.
	MaxRate = math.MaxUint16 * 1e4 * rateUnit
	// MaxPath is the highest number of a path that can be written.
	MaxPath = 15

	rateUnit    = 1000 // bit/s
	rateMaxExp  = 4
	rateBits    = 1<<20 - 1
	unlimited   = Value(rateBits)
	pathShift   = 20
	rateExpBits = 16
)

// RateLimit is a value of SubflowRateLimit.
type RateLimit struct {
	// Path is the number of the path, from 1 in the order in which paths came
	// into the connection. 0 is the subflow that the TCP option came on, and
	// for requests that came another way every path.
	Path int
	// Rate is in bit/s, without headers. 0 is: send what is queued, then close
	// the subflow. It means nothing when Unlimited.
	Rate      uint64
	Unlimited bool
}

// Value is the limit on the wire, rounded down, but never to 0. What is out of
// range is made to fit.
func (l RateLimit) Value() Value {
	path := Value(min(max(l.Path, 0), MaxPath)) << pathShift
	if l.Unlimited {
		return path | unlimited
	}
	units := min(l.Rate, MaxRate) / rateUnit
	if l.Rate > 0 && units == 0 {
		units = 1
	}
	exp := Value(0)
	for units > math.MaxUint16 {
		units /= 10
		exp++
	}
	return path | exp<<rateExpBits | Value(units)
}

// RateLimit is what a value of SubflowRateLimit means.
func (v Value) RateLimit() RateLimit {
	l := RateLimit{Path: int(v >> pathShift)}
	if v&rateBits == unlimited {
		l.Unlimited = true
		return l
	}
	l.Rate = uint64(v&math.MaxUint16) * rateUnit
	for range v & rateBits >> rateExpBits {
		l.Rate *= 10
	}
	return l
}

var rateLimit = descriptor{
	name:    "subflow-rate-limit",
	takes:   "a rate such as 4Mbit, or 2:4Mbit for the second path alone; 2:0 closes that path",
	about:   "caps the rate of a path towards whoever asks",
	example: "2:4Mbit",
	none:    unlimited,
	parse:   parseRateLimit,
	print:   printRateLimit,
	check:   checkRateLimit,
	atMost: func(v, limit Value) Value {
		l, most := v.RateLimit(), limit.RateLimit()
		if !most.Unlimited && (l.Unlimited || l.Rate > most.Rate) {
			l.Rate, l.Unlimited = most.Rate, false
		}
		return l.Value()
	},
	floor: func(v Value) Value {
		l := v.RateLimit()
		if !l.Unlimited && l.Rate > 0 {
			l.Rate = max(l.Rate, MinRate)
		}
		return l.Value()
	},
}

func checkRateLimit(v Value) (Value, error) {
	if v&rateBits != unlimited && v&rateBits>>rateExpBits > rateMaxExp {
		return 0, fmt.Errorf("%w: exponent of the rate", ErrRange)
	}
	return v.RateLimit().Value(), nil
}

var rateUnits = []struct {
	name string
	bits uint64
}{
	// The largest that divides a rate is used for its text; the shortest name
	// is tried last.
	{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1},
}

func printRateLimit(v Value) string {
	l := v.RateLimit()
	path := ""
	if l.Path > 0 {
		path = strconv.Itoa(l.Path) + ":"
	}
	if l.Unlimited {
		return path + byDefault
	}
	for _, u := range rateUnits {
		if l.Rate != 0 && l.Rate%u.bits == 0 {
			return path + strconv.FormatUint(l.Rate/u.bits, 10) + u.name
		}
	}
	return path + "0"
}

var errRate = errors.New("not a rate with a unit")

func parseRateLimit(text string) (Value, error) {
	var l RateLimit
	if path, rest, ok := strings.Cut(text, ":"); ok {
		n, err := strconv.ParseUint(path, 10, 8)
		if err != nil || n == 0 || n > MaxPath {
			return 0, fmt.Errorf("%w: path %q is not from 1 to %d", ErrRange, path, MaxPath)
		}
		l.Path, text = int(n), rest
	}
	switch text {
	case byDefault:
		l.Unlimited = true
		return l.Value(), nil
	case "0":
		return l.Value(), nil
	}
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return 0, errRate
		case err != nil || n > MaxRate/u.bits:
			return 0, ErrRange
		}
		l.Rate = n * u.bits
		return l.Value(), nil
	}
	return 0, errRate
}
