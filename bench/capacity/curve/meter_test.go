// SPDX-License-Identifier: Apache-2.0

package curve

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	start := time.Unix(1e9, 0)
	// at gives samples of a relay that takes a whole core until all is open, a
	// half then, and two when it closes.
	at := func(seconds ...float64) (all []sample) {
		for _, s := range seconds {
			cpu := min(s, 1) + max(min(s, 4)-1, 0)/2 + max(s-4, 0)*2
			all = append(all, sample{start.Add(time.Duration(s * 1e9)), time.Duration(cpu * 1e9)})
		}
		return all
	}
	open := start.Add(time.Second)
	for name, m := range map[string]meter{
		"often":           {open, at(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5)},
		"seldom":          {open, at(0, 1.7, 3.1, 4.5)},
		"none after":      {open, at(0, 1, 2, 3)},
		"one in the time": {open, at(1, 2.5)},
		"never open":      {samples: at(1, 2, 3)},
	} {
		if got, err := m.cores(time.Second, 2*time.Second); err != nil || math.Abs(got-0.5) > 1e-6 && name != "seldom" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, m := range map[string]meter{"one": {open, at(1)}, "none": {open: open}} {
		if got, err := m.cores(time.Second, time.Second); !errors.Is(err, errTooShort) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestBuffers(t *testing.T) {
	for _, tt := range []struct {
		n           int
		rmem, wmem1 string
	}{
		{1, "4096 131072 6291456", "4096 16384 4194304"},
		{1000, "4096 131072 250000", "4096 16384 250000"},
		{50000, "4096 32768 32768", "4096 16384 32768"},
	} {
		var got []string
		for _, s := range buffersOf(1e9, tt.n) {
			got = append(got, s.value)
		}
		if want := tt.rmem + "; " + tt.wmem1; strings.Join(got, "; ") != want {
			t.Errorf("%d connections: %q, want %q", tt.n, got, want)
		}
	}
}
