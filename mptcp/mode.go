// SPDX-License-Identifier: Apache-2.0

package mptcp

import "fmt"

// Mode says how much a socket wants MPTCP.
type Mode uint8

// The modes. Callers always say which: there is no default worth guessing.
const (
	ModeOff     Mode = iota // plain TCP
	ModePrefer              // MPTCP; falls back to TCP as RFC 8684 section 3.7 says
	ModeRequire             // MPTCP; not negotiating it is an error
)

var modeNames = [...]string{ModeOff: "off", ModePrefer: "on", ModeRequire: "require"}

// String returns "off", "on" or "require".
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode is the inverse of Mode.String.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown MPTCP mode %q: want off, on or require", s)
}

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) {
	if int(m) >= len(modeNames) {
		return nil, fmt.Errorf("unknown MPTCP mode %d", uint8(m))
	}
	return []byte(m.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(b []byte) error {
	v, err := ParseMode(string(b))
	if err != nil {
		return err
	}
	*m = v
	return nil
}
