// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSpans compares with a set of bytes.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		seen := map[uint64]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "parts") {
			start := rapid.Uint64Range(0, 300).Draw(t, "start")
			end := start + rapid.Uint64Range(0, 40).Draw(t, "length")
			var fresh, want []uint64
			s.add(start, end, func(start, end uint64) {
				for ; start < end; start++ {
					fresh = append(fresh, start)
				}
			})
			for at := start; at < end; at++ {
				if !seen[at] {
					want, seen[at] = append(want, at), true
				}
			}
			if !slices.Equal(fresh, want) {
				t.Fatalf("%d to %d: fresh %v, want %v", start, end, fresh, want)
			}
		}
		var last uint64
		for at := range seen {
			last = max(last, at+1)
		}
		if s.seen != uint64(len(seen)) || s.end() != last || s.missing() != last-uint64(len(seen)) {
			t.Fatalf("%+v, want %d bytes up to %d", s, len(seen), last)
		}
		for i := 1; i < len(s.list); i++ {
			if s.list[i-1].end >= s.list[i].start {
				t.Fatalf("out of order: %v", s.list)
			}
		}
	})
}

// TestSpansBounded keeps what is missing in sum when there are too many holes.
func TestSpansBounded(t *testing.T) {
	var s spans
	const n = 10 * maxSpans
	for i := range uint64(n) {
		s.add(2*i, 2*i+1, func(uint64, uint64) {})
	}
	if len(s.list) > maxSpans || s.seen != n || s.missing() != n-1 {
		t.Errorf("%d spans, %d bytes, %d missing", len(s.list), s.seen, s.missing())
	}
}
