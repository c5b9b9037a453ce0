// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"
)

func TestUnits(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 1049: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 999_499: "999 kB",
		999_500: "1.0 MB", 34_000_000: "34 MB", 1_500_000_000: "1.5 GB", math.MaxUint64: "18 EB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for seconds, want := range map[float64]string{
		-1: "0s", 0: "0ms", 0.0123: "12ms", 1.9: "1s", 59.9: "59s", 60: "1m00s", 185: "3m05s", 3600: "1h00m",
		86399: "23h59m", 86400: "1d00h", 1047600: "12d03h",
	} {
		if got := ageText(seconds); got != want {
			t.Errorf("%v s: %q, want %q", seconds, got, want)
		}
	}
}
