// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Acknowledging is a value of DelayedACK: an acknowledgement is sent after
// Segments segments, or after a share of the smallest RTT, whichever is first.
type Acknowledging struct {
	Share    uint8 // of the smallest RTT, in percent up to 100; 0: not given
	Segments uint8 // 0: not given
}

// Value is a on the wire. It may be out of range: see Option.Check.
func (a Acknowledging) Value() Value { return Value(a.Share)<<8 | Value(a.Segments) }

// Acknowledging is what a value of DelayedACK means.
func (v Value) Acknowledging() Acknowledging {
	return Acknowledging{Share: uint8(v >> 8), Segments: uint8(v)}
}

var delayedACK = descriptor{
	name:    "delayed-ack",
	takes:   "a share of the smallest RTT such as 25%, a number of segments such as 2, or both: 25%,2",
	about:   "when the receiver acknowledges",
	example: "25%",
	parse:   parseAcknowledging,
	print: func(v Value) string {
		var list []string
		a := v.Acknowledging()
		if a.Share > 0 {
			list = append(list, fmt.Sprintf("%d%%", a.Share))
		}
		if a.Segments > 0 {
			list = append(list, strconv.Itoa(int(a.Segments)))
		}
		return strings.Join(list, ",")
	},
	check: func(v Value) (Value, error) {
		if v > 100<<8|255 {
			return 0, ErrRange
		}
		return v, nil
	},
	atMost: func(v, limit Value) Value {
		a, most := v.Acknowledging(), limit.Acknowledging()
		if most.Share > 0 {
			a.Share = min(a.Share, most.Share)
		}
		if most.Segments > 0 {
			a.Segments = min(a.Segments, most.Segments)
		}
		return a.Value()
	},
	// The share is of an RTT that has to be measured: package tuning adds it.
	onSubflow: func(v Value) (uint32, error) {
		if v.Acknowledging().Share == 0 {
			return 0, errSegments
		}
		return 0, nil
	},
}

var errSegments = errors.New("the kernel cannot count segments: ask for a share of the RTT")

var errAcknowledging = errors.New("neither a share nor a number of segments")

func parseAcknowledging(text string) (Value, error) {
	var a Acknowledging
	share, segments, both := strings.Cut(text, ",")
	if !both && !strings.HasSuffix(share, "%") {
		share, segments = "", share
	}
	if share != "" {
		percent, ok := strings.CutSuffix(share, "%")
		n, err := strconv.ParseUint(percent, 10, 8)
		if !ok || errors.Is(err, strconv.ErrSyntax) {
			return 0, errAcknowledging
		}
		if err != nil || n == 0 || n > 100 {
			return 0, ErrRange
		}
		a.Share = uint8(n)
	}
	if segments != "" {
		n, err := strconv.ParseUint(segments, 10, 8)
		if errors.Is(err, strconv.ErrSyntax) {
			return 0, errAcknowledging
		}
		if err != nil || n == 0 {
			return 0, ErrRange
		}
		a.Segments = uint8(n)
	}
	if a == (Acknowledging{}) || both && (a.Share == 0 || a.Segments == 0) {
		return 0, errAcknowledging
	}
	return a.Value(), nil
}
