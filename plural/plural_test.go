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
