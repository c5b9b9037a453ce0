// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"errors"
	"math/rand/v2"
)

// patternSize is prime, so that what is out of place by any round number of
// bytes is seen.
const patternSize = 65521

// pattern is there twice, so that a piece from anywhere is contiguous.
var pattern = func() []byte {
	b := make([]byte, patternSize, 2*patternSize)
	rand.NewChaCha8([32]byte{'t', 'a', 'n', 'd', 'e', 'm'}).Read(b)
	return append(b, b...)
}()

// ErrOtherBytes is that something else has arrived than was sent, which nothing on
// the way may ever cause.
var ErrOtherBytes = errors.New("other bytes have arrived than were sent")

// flow is one direction of a connection, whose payload is a pattern over its
// offset.
type flow struct{ at uint64 }

// piece is what is sent next, at most n bytes, and may not be changed.
func (f *flow) piece(n uint64) []byte {
	from := f.at % patternSize
	n = min(n, patternSize)
	f.at += n
	return pattern[from : from+n]
}

// skip passes over n bytes that are not payload.
func (f *flow) skip(n int) { f.at += uint64(n) }

// check looks at what has arrived next.
func (f *flow) check(b []byte) error {
	for len(b) > 0 {
		want := f.piece(uint64(len(b)))
		if !bytes.Equal(b[:len(want)], want) {
			return ErrOtherBytes
		}
		b = b[len(want):]
	}
	return nil
}
