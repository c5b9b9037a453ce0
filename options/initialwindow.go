// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// maxInitialWindow is the largest that is put into force, in segments.
const maxInitialWindow = 1000

// InitialWindow is what a value of InitialWindow means, in segments; 0 leaves
// it to the kernel.
func (v Value) InitialWindow() uint32 { return uint32(v) }

var initialWindow = descriptor{
	name:    "initial-window",
	takes:   "a number of segments from 1 to 65535",
	about:   "the initial congestion window of the sender",
	example: "20",
	parse: func(text string) (Value, error) {
		n, err := strconv.ParseUint(text, 10, 16)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return 0, errors.New("not a number")
		case err != nil:
			return 0, ErrRange
		}
		return Value(n), nil
	},
	print: func(v Value) string { return strconv.FormatUint(uint64(v), 10) },
	check: func(v Value) (Value, error) {
		if v > math.MaxUint16 {
			return 0, ErrRange
		}
		return v, nil
	},
	atMost: func(v, limit Value) Value { return min(v, limit) },
	onSubflow: func(v Value) (uint32, error) {
		if v.InitialWindow() > maxInitialWindow {
			return 0, fmt.Errorf("at most %d segments", maxInitialWindow)
		}
		return v.InitialWindow(), nil
	},
}
