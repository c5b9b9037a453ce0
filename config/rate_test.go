// SPDX-License-Identifier: Apache-2.0

package config

import "testing"

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"0": 0, "1bit": 1, "500kbit": 500e3, "4Mbit": 4e6, "4 Mbit": 4e6, "10Gbit": 10e9, "1500kbit": 1500e3,
	} {
		var r, again Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q: %d, %v; want %d", text, r, err, want)
		}
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Errorf("%q printed as %q: %d, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"", "4", "4mbit", "4MB", "-4Mbit", "4.5Mbit", "Mbit", "2000000Gbit", "99999999999999999999Gbit"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %d, want an error", text, r)
		}
	}
}
