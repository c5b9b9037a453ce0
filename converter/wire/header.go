// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

const (
	// Version is the only version of the protocol that RFC 8803 defines.
	Version = 1
	// Magic marks the first bytes of a stream as Convert (RFC 8803, section 6.1).
	Magic = 0x2263
	// HeaderLen is the size of the fixed header in bytes.
	HeaderLen = 4
	// MaxLen is the largest message in bytes: the header counts its length in
	// 32-bit words, in one byte.
	MaxLen = 255 * wordLen

	wordLen = 4
)

// Header is the fixed header of a message (RFC 8803, section 6.1).
type Header struct {
	// Version of the protocol that the message is written in.
	Version uint8
	// Len is the size of the whole message in bytes, header included.
	Len int
}

// ParseHeader decodes the fixed header at the start of b. It returns ErrShort
// when b may still become one, ErrNotConvert when it cannot, and a *ParseError
// for a version other than ours and for a length of zero.
//
// The magic number decides before the version does, and as early as it can:
// a peer that speaks another protocol must not be kept waiting for a fourth
// byte, and must not be told about versions.
func ParseHeader(b []byte) (Header, error) {
	for i, want := range [2]byte{Magic >> 8, Magic & 0xff} {
		if len(b) > 2+i && b[2+i] != want {
			return Header{}, ErrNotConvert
		}
	}
	if len(b) < HeaderLen {
		return Header{}, ErrShort
	}
	h := Header{Version: b[0], Len: int(b[1]) * wordLen}
	if h.Version != Version {
		return h, &ParseError{
			Code:   UnsupportedVersion,
			Value:  []byte{Version},
			Reason: "unsupported version",
		}
	}
	if h.Len == 0 {
		return h, malformed("total length is zero")
	}
	return h, nil
}

// appendHeader appends the header of a message whose length is not yet known.
func appendHeader(b []byte, version uint8) []byte {
	return binary.BigEndian.AppendUint16(append(b, version, 0), Magic)
}
