// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func FuzzParseHeader(f *testing.F) {
	f.Add(Header{Data, MaxData, 7}.AppendTo(nil))
	f.Add(Header{Ack, 0, 1 << 63}.AppendTo(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHeader(b); err == nil && !bytes.Equal(h.AppendTo(nil), b[:HeaderLen]) {
			t.Fatalf("% x reads as %+v", b, h)
		}
	})
}

type frame struct {
	Header
	data []byte
}

// testLeg delivers in order, at any time, until it is cut.
type testLeg struct {
	at      uint64
	finSent bool
	flight  []frame
	acks    []uint64
}

// Whatever legs do, every byte arrives once and in order, no more than the
// window is held, and all chunks come back.
func TestStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 64).Draw(t, "window")
		want := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "stream")
		m := newMemory(rapid.IntRange(4, 64).Draw(t, "memory"), rapid.IntRange(1, 16).Draw(t, "chunk"))
		m.most = max(m.most, 4)
		left, got := want, []byte{}
		s, r, legs := newSender(window, m), newReceiver(window, m), []*testLeg{{}}
		step := func(l *testLeg, what int) {
			switch what {
			case 0:
				left = left[s.write(left):]
				if len(left) == 0 {
					s.finish()
				}
			case 1:
				if h, data, ok := s.next(l.at); ok && !l.finSent {
					l.at, l.finSent = h.Offset+uint64(h.Length), h.Kind == Fin
					l.flight = append(l.flight, frame{h, bytes.Clone(data)})
				}
			case 2:
				if len(l.flight) > 0 {
					f := &l.flight[0]
					n, err := r.take(f.Header, f.data)
					if err != nil {
						t.Fatal(err)
					}
					f.Offset += uint64(n)
					if f.data = f.data[n:]; len(f.data) == 0 {
						l.flight = l.flight[1:]
					}
				}
			case 3:
				got = append(got, r.pending()...)
				r.delivered(len(r.pending()))
				l.acks = append(l.acks, r.ack())
			case 4:
				if len(l.acks) > 0 {
					if err := s.acknowledge(l.acks[0]); err != nil {
						t.Fatal(err)
					}
					l.acks = l.acks[1:]
				}
			}
			if s.end-s.base > uint64(window) || r.end-r.base > uint64(window) || m.lent > m.most {
				t.Fatalf("%d and %d bytes held, window %d; %d chunks of %d", s.end-s.base, r.end-r.base, window, m.lent, m.most)
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, len(legs)-1).Draw(t, "leg")
			switch what := rapid.IntRange(0, 6).Draw(t, "what"); what {
			case 5:
				legs[i] = &testLeg{} // cut, and another one joins
			case 6:
				if len(legs) < 4 {
					legs = append(legs, &testLeg{})
				}
			default:
				step(legs[i], what)
			}
		}
		// One leg that works is enough to finish.
		last := &testLeg{}
		for range 4 * (len(want) + 2) {
			for what := range 5 {
				step(last, what)
			}
		}
		if !bytes.Equal(got, want) || !r.finished() || !s.done || m.lent != 0 {
			t.Fatalf("got %d of %d bytes, ended %t, confirmed %t, %d chunks lent", len(got), len(want), r.finished(), s.done, m.lent)
		}
	})
}
