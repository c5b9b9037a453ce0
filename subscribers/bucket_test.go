// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBucket has several flows that take what they may, or somewhat more as a
// read brings it, and looks at the rate that comes of it.
func TestBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Uint64Range(100, 1<<32).Draw(t, "rate")
		most := rapid.IntRange(1, 1<<20).Draw(t, "most")
		flows := rapid.IntRange(1, 5).Draw(t, "flows")
		var b bucket
		b.limit(rate)
		const long = int64(100 * time.Second)
		var moved uint64
		turns := 0
		for now := int64(0); now < long; turns++ {
			n, wait := b.allow(now)
			if n == 0 {
				if wait <= 0 {
					t.Fatal("neither bytes nor a time to wait")
				}
				now += int64(wait)
				continue
			}
			for range flows {
				n := min(n, most)
				b.spend(uint64(n), now)
				moved += uint64(n)
			}
			if turns > 50_000 {
				t.SkipNow() // small turns at a high rate: long would take long
			}
		}
		// Debt is at most what the flows took in a turn, and time is taken up
		// to a full bucket.
		extra := float64(flows*most) + float64(rate)
		if want := float64(rate) * 100; float64(moved) < want*0.98-extra || float64(moved) > want*1.02+2*extra {
			t.Fatalf("%d bytes in 100 s, want %.0f", moved, want)
		}
	})
}

func TestBucketWithoutLimit(t *testing.T) {
	var b bucket
	b.spend(1<<40, 0)
	if n, wait := b.allow(0); n != unlimited || wait != 0 {
		t.Errorf("%d bytes after %v", n, wait)
	}
}
