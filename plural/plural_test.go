// SPDX-License-Identifier: Apache-2.0

package plural_test

import (
	"testing"

	"github.com/tandem-gateway/tandem/plural"
)

func TestOf(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 connections", 1: "1 connection", 2: "2 connections", 4711: "4711 connections"} {
		if got := plural.Of(n, "connection"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestDigits(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := plural.Digits(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
