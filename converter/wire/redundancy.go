// SPDX-License-Identifier: Apache-2.0

package wire

// TypeRedundancy ties connections together that carry the same byte stream. It
// is for private use.
const TypeRedundancy Type = 225

// RedundancyVersion is the version of the redundancy protocol.
const RedundancyVersion = 1

// redundancyLen is version, a byte that is zero, and the id.
const redundancyLen = 2 + 16

// Redundancy is the content of the private TLV of type TypeRedundancy.
type Redundancy struct {
	// ID names the stream. It is random, so that nobody else can join it.
	ID [16]byte
}

// Private returns r as a TLV.
func (r Redundancy) Private() Private {
	body := append(make([]byte, 0, redundancyLen), RedundancyVersion, 0)
	return Private{Type: TypeRedundancy, Body: append(body, r.ID[:]...)}
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
	return Redundancy{ID: [16]byte(body[2:])}, nil
}
