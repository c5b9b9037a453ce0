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

// leg delivers in order, at any time, until it is cut.
type leg struct {
	at      uint64
	finSent bool
	flight  []frame
	acks    []uint64
}

// Whatever legs do, every byte arrives once and in order, and no more than the
// window is held.
func TestStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 64).Draw(t, "window")
		want := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "stream")
		left, got := want, []byte{}
		s, r, legs := NewSender(window), &Receiver{}, []*leg{{}}
		step := func(l *leg, what int) {
			switch what {
			case 0:
				left = left[s.Write(left):]
				if len(left) == 0 {
					s.End()
				}
			case 1:
				if h, data, ok := s.Next(l.at); ok && !l.finSent {
					l.at, l.finSent = h.Offset+uint64(h.Length), h.Kind == Fin
					l.flight = append(l.flight, frame{h, bytes.Clone(data)})
				}
			case 2:
				if len(l.flight) > 0 {
					fresh, err := r.Take(l.flight[0].Header, l.flight[0].data)
					if err != nil {
						t.Fatal(err)
					}
					got, l.flight = append(got, fresh...), l.flight[1:]
					l.acks = append(l.acks, r.Next())
				}
			case 3:
				if len(l.acks) > 0 {
					if err := s.Acknowledge(l.acks[0]); err != nil {
						t.Fatal(err)
					}
					l.acks = l.acks[1:]
				}
			}
			if s.Buffered() > window {
				t.Fatalf("%d bytes held, window %d", s.Buffered(), window)
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, len(legs)-1).Draw(t, "leg")
			switch what := rapid.IntRange(0, 6).Draw(t, "what"); what {
			case 4:
				legs[i] = &leg{} // cut, and another one joins
			case 5:
				if len(legs) < 4 {
					legs = append(legs, &leg{})
				}
			default:
				step(legs[i], what)
			}
		}
		// One leg that works is enough to finish.
		last := &leg{}
		for range 4 * (len(want) + 2) {
			for what := range 4 {
				step(last, what)
			}
		}
		if !bytes.Equal(got, want) || !r.Ended() || s.Buffered() != 0 {
			t.Fatalf("got %d of %d bytes, ended %t, %d held", len(got), len(want), r.Ended(), s.Buffered())
		}
	})
}
