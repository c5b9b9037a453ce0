// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// TypeRedundancy ties connections together that carry the same byte stream. It
// is for private use.
const TypeRedundancy Type = 225

// RedundancyVersion is the version of the redundancy protocol.
const RedundancyVersion = 1

// redundancyLen is version, a byte that is zero, the id and the instance.
const redundancyLen = 2 + 16 + 8

// Redundancy is the content of the private TLV of type TypeRedundancy.
type Redundancy struct {
	// ID names the stream. It is random, so that nobody else can join it.
	ID [16]byte
	// Instance names what the converter has made of the stream. It is random and
	// not 0. A client says 0 until a converter has told it, and takes no leg to
	// another one: a converter that has begun anew, or another process of it,
	// would serve the stream a second time.
	Instance uint64
}

// Private returns r as a TLV.
func (r Redundancy) Private() Private {
	body := append(make([]byte, 0, redundancyLen), RedundancyVersion, 0)
	body = append(body, r.ID[:]...)
	return Private{Type: TypeRedundancy, Body: binary.BigEndian.AppendUint64(body, r.Instance)}
}

// ParseRedundancy decodes the body of a TLV of type TypeRedundancy. The error
// is a *ParseError: UnsupportedMessage for another version, so that the client
// asks again without the TLV, or MalformedMessage.
func ParseRedundancy(body []byte) (Redundancy, error) {
	switch {
	case len(body) != redundancyLen:
		return Redundancy{}, malformed("redundancy: %d bytes, want %d", len(body), redundancyLen)
	case body[0] != RedundancyVersion:
		return Redundancy{}, &ParseError{Code: UnsupportedMessage, Value: []byte{byte(TypeRedundancy)}, Reason: "redundancy: unknown version"}
	case body[1] != 0:
		return Redundancy{}, malformed("redundancy: reserved byte is not zero")
	}
	return Redundancy{ID: [16]byte(body[2:18]), Instance: binary.BigEndian.Uint64(body[18:])}, nil
}
