// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"strings"
	"testing"
)

func TestModeText(t *testing.T) {
	for m, want := range map[Mode]string{ModeOff: "off", ModePrefer: "on", ModeRequire: "require"} {
		b, err := m.MarshalText()
		if err != nil || string(b) != want {
			t.Errorf("MarshalText(%d) = %q, %v; want %q", m, b, err, want)
		}
		var back Mode
		if err := back.UnmarshalText(b); err != nil || back != m {
			t.Errorf("UnmarshalText(%q) = %v, %v", b, back, err)
		}
	}
	if _, err := ParseMode("On"); err == nil || !strings.Contains(err.Error(), "want off, on or require") {
		t.Errorf("ParseMode(On): %v", err)
	}
	if _, err := Mode(3).MarshalText(); err == nil {
		t.Error("Mode(3) marshalled")
	}
}

func TestReasonsHaveDistinctWords(t *testing.T) {
	seen := map[string]FallbackReason{}
	for r := range FallbackReason(NumReasons) {
		s := r.String()
		if other, twice := seen[s]; twice || s == "" || strings.ContainsAny(s, " -()") {
			t.Errorf("reason %d is %q (also %d)", r, s, other)
		}
		seen[s] = r
	}
}
