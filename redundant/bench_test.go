// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"io"
	"testing"
)

// ping sends a message through a stream and waits until it has arrived.
func ping(t testing.TB, a, b *end, message, got []byte) {
	if _, err := a.Write(message); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, got); err != nil {
		t.Fatal(err)
	}
}

// Messages over two legs. The unit is one message.
func BenchmarkMessage(b *testing.B) {
	x, y := streams(b, Config{})
	join(b, x.stream, y.stream)
	join(b, x.stream, y.stream)
	message, got := random(100), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		ping(b, x, y, message, got)
	}
}

// Bulk over one leg and over two. The unit is 64 KiB that arrive.
func BenchmarkBulk(b *testing.B) {
	for _, legs := range []string{"1 leg", "2 legs"} {
		b.Run(legs, func(b *testing.B) {
			x, y := streams(b, Config{})
			for range legs[0] - '0' {
				join(b, x.stream, y.stream)
			}
			block, got := random(64<<10), make([]byte, 64<<10)
			b.SetBytes(int64(len(block)))
			b.ReportAllocs()
			go func() {
				for {
					if _, err := x.Write(block); err != nil {
						return
					}
				}
			}()
			for b.Loop() {
				if _, err := io.ReadFull(y, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is relayed is not paid for with garbage.
func TestMessageAllocations(t *testing.T) {
	a, b := streams(t, Config{})
	join(t, a.stream, b.stream)
	join(t, a.stream, b.stream)
	message, got := random(100), make([]byte, 100)
	ping(t, a, b, message, got)
	if testing.AllocsPerRun(1, func() {
		for range 1000 {
			blocks.Put(blocks.Get())
		}
	}) > 10 {
		t.Skip("pools forget on purpose with the race detector")
	}
	// One, as they are emptied now and then.
	if n := testing.AllocsPerRun(1000, func() { ping(t, a, b, message, got) }); n > 1 {
		t.Errorf("%v allocations for a message", n)
	}
}
