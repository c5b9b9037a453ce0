// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

// sending puts packets of full size onto a line at the given times, and returns
// when each came out, by the order of sending; those lost are never.
func sending(l *line, times []time.Duration) []time.Duration {
	out := make([]time.Duration, len(times))
	for i := range out {
		out[i] = never
	}
	index := map[*packet]int{}
	sent := 0
	for sent < len(times) || l.next() != never {
		if at := l.next(); sent == len(times) || at < times[sent] {
			for p := l.pop(at); p != nil; p = l.pop(at) {
				out[index[p]] = at
				l.pool.put(p)
			}
			continue
		}
		p := l.pool.take()
		p.size = 1500 - frameHeader // 1500 bytes on the wire
		index[p] = sent
		l.push(p, times[sent])
		sent++
	}
	return out
}

func lineWith(c Conditions) *line {
	l := newLine(1, 2, 64)
	l.set(c, 0)
	return l
}

// every returns n times at a distance.
func every(n int, distance time.Duration) []time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		times[i] = time.Duration(i) * distance
	}
	return times
}

func TestLineTimes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		c     Conditions
		times []time.Duration
		want  []time.Duration
	}{
		{"perfect wire", Conditions{}, []time.Duration{1, 2}, []time.Duration{1, 2}},
		{"delay", Conditions{Delay: 10 * ms}, []time.Duration{0, ms}, []time.Duration{10 * ms, 11 * ms}},
		// 1500 bytes at 12 Mbit/s take 1 ms.
		{"rate", Conditions{Rate: 12e6}, []time.Duration{0, 0, 0, 10 * ms}, []time.Duration{ms, 2 * ms, 3 * ms, 11 * ms}},
		{"rate and delay", Conditions{Rate: 12e6, Delay: 5 * ms}, []time.Duration{0, 0}, []time.Duration{6 * ms, 7 * ms}},
		{"queue in packets", Conditions{Rate: 12e6, Queue: Queue{Packets: 2}}, []time.Duration{0, 0, 0, ms}, []time.Duration{ms, 2 * ms, never, 3 * ms}},
		{"queue in bytes", Conditions{Rate: 12e6, Queue: Queue{Bytes: 3000}}, []time.Duration{0, 0, 0, ms}, []time.Duration{ms, 2 * ms, never, 3 * ms}},
		{"default queue of 30 kB", Conditions{Rate: 1.2e6}, make([]time.Duration, 21), append(every(21, 10*ms)[1:], never)},
		{"all lost", Conditions{Loss: RandomLoss(1)}, []time.Duration{0, 1}, []time.Duration{never, never}},
		{"all reordered", Conditions{Delay: ms, Reorder: 1}, []time.Duration{0, 1}, []time.Duration{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sending(lineWith(tt.c), tt.times); !slices.Equal(got, tt.want) {
				t.Errorf("came out at %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLineChanges(t *testing.T) {
	put := func(l *line, now time.Duration) {
		p := l.pool.take()
		p.size = 1500 - frameHeader
		l.push(p, now)
	}
	t.Run("rate in mid-packet", func(t *testing.T) {
		l := lineWith(Conditions{Rate: 12e6})
		put(l, 0)
		l.set(Conditions{Rate: 6e6}, ms/2)
		if got, want := l.next(), ms/2+ms; got != want {
			t.Errorf("half a packet ends at %v, want %v", got, want)
		}
		l.set(Conditions{}, ms)
		if p := l.pop(ms); p == nil {
			t.Error("an unlimited line keeps its queue")
		}
	})
	t.Run("shorter delay keeps order", func(t *testing.T) {
		l := lineWith(Conditions{Delay: 100 * ms})
		put(l, 0)
		l.set(Conditions{Delay: 10 * ms}, ms)
		put(l, ms)
		if l.pop(99*ms) != nil {
			t.Error("a packet has overtaken")
		}
		for range 2 {
			if l.pop(100*ms) == nil {
				t.Error("a packet is late")
			}
		}
	})
	t.Run("flush", func(t *testing.T) {
		l := lineWith(Conditions{Rate: 12e6, Delay: 10 * ms})
		put(l, 0)
		put(l, 0)
		l.advance(ms)
		l.flush()
		if l.next() != never || l.stats.DroppedDown != 2 {
			t.Errorf("next at %v, stats %+v", l.next(), l.stats)
		}
	})
}

// TestLineKeepsOrder holds for all conditions without reordering, whatever
// changes on the way, and no packet is lost from the books.
func TestLineKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(rapid.Uint64().Draw(t, "seed"), 1, 64)
		var now time.Duration
		order, delivered, sent := map[*packet]int{}, 0, 0
		last := -1
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(20*ms)).Draw(t, "wait"))
			for p := l.pop(now); p != nil; p = l.pop(now) {
				if p.due > now {
					t.Fatalf("delivered at %v, due at %v", now, p.due)
				}
				if order[p] <= last {
					t.Fatalf("packet %d after %d", order[p], last)
				}
				last = order[p]
				delivered++
				l.pool.put(p)
			}
			if rapid.Bool().Draw(t, "change") {
				delay := time.Duration(rapid.Int64Range(0, int64(50*ms)).Draw(t, "delay"))
				c := Conditions{
					Rate:   rapid.SampledFrom([]uint64{0, 1e6, 12e6, 1e9}).Draw(t, "rate"),
					Delay:  delay,
					Jitter: time.Duration(rapid.Int64Range(0, int64(delay)).Draw(t, "jitter")),
					Loss:   BurstLoss(rapid.Float64Range(0, 0.5).Draw(t, "loss"), 3),
				}
				l.set(c, now)
			}
			for range rapid.IntRange(0, 30).Draw(t, "packets") {
				p := l.pool.take()
				p.size = rapid.IntRange(1, 1500).Draw(t, "size")
				order[p] = sent
				sent++
				l.push(p, now)
			}
		}
		lost := int(l.stats.DroppedLoss + l.stats.DroppedQueue)
		if left := l.queue.packets + l.flying.packets; delivered+lost+left != sent {
			t.Fatalf("%d sent, %d delivered, %d lost, %d on the line", sent, delivered, lost, left)
		}
	})
}

func TestLossModels(t *testing.T) {
	const n = 200_000
	for _, tt := range []struct {
		name       string
		loss       Loss
		mean, runs float64 // share lost, mean length of a run of losses
	}{
		{"random", RandomLoss(0.02), 0.02, 1 / (1 - 0.02)},
		{"bursts", BurstLoss(0.05, 8), 0.05, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.loss.Mean(); math.Abs(got-tt.mean) > 1e-9 {
				t.Errorf("mean %g, want %g", got, tt.mean)
			}
			l := lineWith(Conditions{Loss: tt.loss})
			lost, runs, before := 0, 0, false
			for range n {
				lose := l.lose()
				if lose {
					lost++
					if !before {
						runs++
					}
				}
				before = lose
			}
			if got := float64(lost) / n; math.Abs(got-tt.mean) > tt.mean*0.1 {
				t.Errorf("lost %g, want %g", got, tt.mean)
			}
			if got := float64(lost) / float64(runs); math.Abs(got-tt.runs) > tt.runs*0.1 {
				t.Errorf("bursts of %g, want %g", got, tt.runs)
			}
		})
	}
}

// TestLineRepeats wants the same fate for the same packets and seed.
func TestLineRepeats(t *testing.T) {
	c := Conditions{Rate: 12e6, Delay: 20 * ms, Jitter: 5 * ms, Loss: BurstLoss(0.1, 3), Reorder: 0.1}
	first, second := sending(lineWith(c), every(500, ms)), sending(lineWith(c), every(500, ms))
	if !slices.Equal(first, second) {
		t.Error("two runs differ")
	}
	if slices.IsSorted(first) || !slices.Contains(first, never) {
		t.Error("nothing was lost or reordered")
	}
}

func TestJitterSpreads(t *testing.T) {
	c := Conditions{Delay: 20 * ms, Jitter: 5 * ms}
	times := every(1000, 20*ms) // too far apart to wait for each other
	var low, high time.Duration = never, 0
	for i, at := range sending(lineWith(c), times) {
		d := at - times[i]
		if d < 15*ms || d > 25*ms {
			t.Fatalf("delay of %v", d)
		}
		low, high = min(low, d), max(high, d)
	}
	if low > 16*ms || high < 24*ms {
		t.Errorf("delays from %v to %v only", low, high)
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []Conditions{
		{Rate: 1}, {Rate: maxRate + 1}, {Delay: -1}, {Delay: maxDelay + 1}, {Jitter: 1},
		{Loss: RandomLoss(1.1)}, {Loss: RandomLoss(-0.1)}, {Loss: RandomLoss(math.NaN())},
		{Loss: Loss{ToBad: 2}}, {Reorder: 0.5}, {Delay: ms, Reorder: 2},
	} {
		if c.Check() == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	if err := (Conditions{Rate: 1e9, Delay: ms, Jitter: ms, Loss: BurstLoss(0.5, 9), Reorder: 0.1}).Check(); err != nil {
		t.Error(err)
	}
}
