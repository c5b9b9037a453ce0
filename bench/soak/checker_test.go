// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// A stream is a key of 32 bytes, and what that makes: whoever reads it knows what
// has to come.
const keySize = 32

// newStream is an endless stream.
func newStream(key [keySize]byte) io.Reader {
	return io.MultiReader(bytes.NewReader(key[:]), rand.NewChaCha8(key))
}

// checker compares what comes with the stream that it has to be. Of one that
// differs it keeps everything.
type checker struct {
	key    [keySize]byte
	known  int // bytes of the key
	stream io.Reader
	want   []byte
	right  int64 // bytes until it differs
	wrong  []byte
}

func (c *checker) Write(b []byte) (int, error) {
	n := len(b)
	if c.known < keySize {
		k := copy(c.key[c.known:], b)
		c.known += k
		c.right += int64(k)
		b = b[k:]
	}
	if len(b) > 0 && len(c.wrong) == 0 {
		if c.stream == nil {
			c.stream = rand.NewChaCha8(c.key)
		}
		if len(c.want) < len(b) {
			c.want = make([]byte, len(b))
		}
		want := c.want[:len(b)]
		_, _ = io.ReadFull(c.stream, want) // a generator has no end
		same := 0
		for same < len(b) && b[same] == want[same] {
			same++
		}
		c.right += int64(same)
		b = b[same:]
	}
	c.wrong = append(c.wrong, b...)
	return n, nil
}

// describe says which parts of the stream, which is so long, came in which order.
// It is "" if all is right.
func (c *checker) describe(size int64) string {
	const clue, most = 16, 20 // bytes that tell a place, and parts that are listed
	if len(c.wrong) == 0 {
		return ""
	}
	whole := make([]byte, size)
	_, _ = io.ReadFull(newStream(c.key), whole)
	parts := []string{fmt.Sprintf("0 to %d", c.right)}
	for rest := c.wrong; len(rest) > 0; {
		if len(parts) == most {
			parts = append(parts, "…")
			break
		}
		from := bytes.Index(whole, rest[:min(clue, len(rest))])
		if from < 0 {
			parts = append(parts, fmt.Sprintf("%d bytes of something else", len(rest)))
			break
		}
		n := 0
		for n < len(rest) && from+n < len(whole) && rest[n] == whole[from+n] {
			n++
		}
		parts = append(parts, fmt.Sprintf("%d to %d", from, from+n))
		rest = rest[n:]
	}
	return strings.Join(parts, ", ")
}
