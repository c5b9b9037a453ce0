// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// TestDifferent: of changes of one connection, the later come into force later.
func TestDifferent(t *testing.T) {
	for _, c := range []struct {
		tokens []uint32
		want   int
	}{
		{[]uint32{1}, 1},
		{[]uint32{1, 2, 3}, 3},
		{[]uint32{1, 2, 1, 3}, 2},
		{[]uint32{1, 1}, 1},
	} {
		var list []change
		for _, token := range c.tokens {
			list = append(list, change{token: token})
		}
		if got := different(list); got != c.want {
			t.Errorf("%v: %d, want %d", c.tokens, got, c.want)
		}
	}
}
