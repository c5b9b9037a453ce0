// SPDX-License-Identifier: Apache-2.0

// Package wire reads the MPTCP option of TCP segments, of version 1 (RFC 8684)
// and of version 0 (RFC 6824), and derives from the keys of a connection what
// names it: tokens, initial data sequence numbers, authentication codes.
//
// All functions take the data of an option: what follows its length byte, so
// that the first byte holds the subtype. They report whether it is well-formed,
// and keep nothing of it.
package wire

import "encoding/binary"

// Kind is that of the MPTCP option (IANA registry "TCP Option Kind Numbers").
const Kind = 30

// Subtype of an MPTCP option (RFC 8684, section 8.2).
type Subtype uint8

// The subtypes.
const (
	MPCapable Subtype = iota
	MPJoin
	DSS
	AddAddr
	RemoveAddr
	MPPrio
	MPFail
	MPFastClose
	MPTCPRst
)

// headerLen is the length of kind and length, which data leaves out.
const headerLen = 2

// SubtypeOf reports the subtype of an option.
func SubtypeOf(data []byte) (Subtype, bool) {
	if len(data) == 0 {
		return 0, false
	}
	return Subtype(data[0] >> 4), true
}

// is tells whether data is of the subtype and length; the length is that of the
// RFC, with kind and length byte.
func is(data []byte, subtype Subtype, length int) bool {
	return len(data) == length-headerLen && Subtype(data[0]>>4) == subtype
}

var be = binary.BigEndian
