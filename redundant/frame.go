// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind is what a frame says.
type Kind uint8

// The kinds of frames.
const (
	Data  Kind = 1 + iota // Length bytes from Offset on follow
	Ack                   // everything before Offset has arrived
	Fin                   // the stream ends at Offset
	Reset                 // the stream is aborted
)

const (
	// HeaderLen is the length of a frame without its data: kind, zero, length
	// (2 bytes) and offset (8 bytes), big-endian.
	HeaderLen = 12
	// MaxData is the most bytes in one frame.
	MaxData = 16 << 10
)

var (
	// ErrShort says that the bytes so far are the beginning of a header.
	ErrShort = errors.New("frame is incomplete")
	// ErrFrame is a frame that cannot be: the leg is to be closed.
	ErrFrame = errors.New("malformed frame")
)

// Header precedes the data of a frame.
type Header struct {
	Kind   Kind
	Length int    // of the data that follows, 1 to MaxData; 0 but for Data
	Offset uint64 // in the stream
}

// ParseHeader decodes the HeaderLen bytes at the start of b.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrShort
	}
	h := Header{Kind(b[0]), int(binary.BigEndian.Uint16(b[2:])), binary.BigEndian.Uint64(b[4:])}
	switch {
	case h.Kind < Data || h.Kind > Reset || b[1] != 0:
		return Header{}, fmt.Errorf("%w: kind %d, %d", ErrFrame, b[0], b[1])
	case h.Length > MaxData || (h.Length > 0) != (h.Kind == Data):
		return Header{}, fmt.Errorf("%w: kind %d with %d bytes", ErrFrame, h.Kind, h.Length)
	case h.Offset+uint64(h.Length) < h.Offset:
		return Header{}, fmt.Errorf("%w: offset %d overflows", ErrFrame, h.Offset)
	}
	return h, nil
}

// AppendTo appends the encoding of h to b.
func (h Header) AppendTo(b []byte) []byte {
	b = append(b, byte(h.Kind), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Length))
	return binary.BigEndian.AppendUint64(b, h.Offset)
}
