// SPDX-License-Identifier: Apache-2.0

package wire

import "strconv"

// Type is the type of a TLV (RFC 8803, section 6.2).
type Type uint8

// The TLVs of RFC 8803.
const (
	TypeInfo              Type = 1
	TypeConnect           Type = 10
	TypeExtendedTCPHeader Type = 20
	TypeSupported         Type = 21
	TypeCookie            Type = 22
	TypeError             Type = 30

	// TypePrivateFirst is the first of the types for private use; the last
	// one is 255.
	TypePrivateFirst Type = 192
)

// Private reports whether t is for private use.
func (t Type) Private() bool { return t >= TypePrivateFirst }

func (t Type) String() string {
	switch t {
	case TypeInfo:
		return "Info"
	case TypeConnect:
		return "Connect"
	case TypeExtendedTCPHeader:
		return "Extended TCP Header"
	case TypeSupported:
		return "Supported TCP Extensions"
	case TypeCookie:
		return "Cookie"
	case TypeError:
		return "Error"
	}
	return "TLV " + strconv.Itoa(int(t))
}

const (
	// tlvHeaderLen is type and length.
	tlvHeaderLen = 2
	// reservedLen is what follows the TLV header in most TLVs and is zero.
	reservedLen = 2
)

// nextTLV splits the first TLV off b, which holds whole words only. The body
// is what follows type and length, padding included, so never shorter than
// two bytes.
func nextTLV(b []byte) (t Type, body, rest []byte, err error) {
	t = Type(b[0])
	n := int(b[1]) * wordLen
	switch {
	case n == 0:
		return t, nil, nil, malformed("%s: length is zero", t)
	case n > len(b):
		return t, nil, nil, malformed("%s: %d bytes long where %d are left", t, n, len(b))
	}
	return t, b[tlvHeaderLen:n], b[n:], nil
}

// appendTLV appends a TLV whose body is the concatenation of parts, padded
// with zeros to whole words.
func appendTLV(b []byte, t Type, parts ...[]byte) ([]byte, error) {
	n := tlvHeaderLen
	for _, p := range parts {
		n += len(p)
	}
	words := (n + wordLen - 1) / wordLen
	if words > MaxLen/wordLen {
		return b, ErrTooLong
	}
	b = append(b, byte(t), byte(words))
	for _, p := range parts {
		b = append(b, p...)
	}
	for ; n < words*wordLen; n++ {
		b = append(b, 0)
	}
	return b, nil
}

// reserved is the zero bytes between TLV header and content.
var reserved = make([]byte, reservedLen)
