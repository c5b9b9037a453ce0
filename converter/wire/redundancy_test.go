// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzParseRedundancy(f *testing.F) {
	f.Add(Redundancy{ID: [16]byte{1, 15: 2}, Instance: 3}.Private().Body)
	f.Add([]byte{})
	f.Add(append([]byte{2, 0}, make([]byte, 24)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRedundancy(b)
		if err != nil {
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("%v is not a ParseError", err)
			}
			return
		}
		if got := r.Private().Body; !bytes.Equal(got, b) {
			t.Fatalf("% x reads as % x", b, got)
		}
	})
}
