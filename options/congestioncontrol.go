// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"slices"
)

// congestionControls are the names that can be written, by number: those of the
// kernel (net/ipv4/tcp_*.c). Numbers stay for ever; new names go to the end.
var congestionControls = []string{
	"", "reno", "cubic", "bbr", "bic", "cdg", "dctcp", "highspeed", "htcp", "hybla", "illinois", "lp", "nv",
	"scalable", "vegas", "veno", "westwood", "yeah",
}

// CongestionControls are the names of congestion controls that can be asked
// for. A kernel has some of them only.
func CongestionControls() []string { return slices.Clone(congestionControls[1:]) }

// CongestionControl is what a value of CongestionControl means; "" leaves it
// to the kernel.
func (v Value) CongestionControl() string {
	if int(v) >= len(congestionControls) {
		return ""
	}
	return congestionControls[v]
}

var errCongestionControl = errors.New("no such congestion control")

var congestionControl = descriptor{
	name:    "congestion-control",
	takes:   "the name of a congestion control of the kernel, such as bbr or cubic",
	about:   "the congestion control of the sender",
	example: "cubic",
	parse: func(text string) (Value, error) {
		i := slices.Index(congestionControls, text)
		if i <= 0 {
			return 0, errCongestionControl
		}
		return Value(i), nil
	},
	print: func(v Value) string { return v.CongestionControl() },
	check: func(v Value) (Value, error) {
		if int(v) >= len(congestionControls) {
			return 0, ErrRange
		}
		return v, nil
	},
}
