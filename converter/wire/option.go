// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
)

// Kinds of TCP options, from IANA's registry, that the protocol has rules for.
const (
	KindEndOfList     uint8 = 0
	KindNoOperation   uint8 = 1
	KindMaxSegment    uint8 = 2
	KindWindowScale   uint8 = 3
	KindSACKPermitted uint8 = 4
	KindSACK          uint8 = 5
	KindTimestamps    uint8 = 8
	KindUserTimeout   uint8 = 28
	KindTCPAO         uint8 = 29
	KindMPTCP         uint8 = 30
	KindFastOpen      uint8 = 34
)

// MaxTCPOptions is how many bytes of options fit a TCP header.
const MaxTCPOptions = 40

// errOption is a list of TCP options that cannot be followed to its end.
var errOption = errors.New("tcp options are malformed")

// TCPOption is one option as it stands in a TCP header (RFC 9293, section 3.1).
type TCPOption struct {
	Kind uint8
	// Value is what follows kind and length. An option without one in a
	// Connect TLV asks the converter for a value of its own.
	Value []byte
}

// ParseTCPOptions decodes a list of options up to its end or an End of Option
// List, which padding is. No-Operation is skipped. On error the options before
// the broken one are returned with it. Values alias b.
func ParseTCPOptions(b []byte) ([]TCPOption, error) {
	var list []TCPOption
	for len(b) > 0 && b[0] != KindEndOfList {
		if b[0] == KindNoOperation {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return list, fmt.Errorf("%w at kind %d", errOption, b[0])
		}
		n := int(b[1])
		list = append(list, TCPOption{Kind: b[0], Value: b[2:n:n]})
		b = b[n:]
	}
	return list, nil
}

// AppendTCPOptions appends the encoding of list, without padding. Kinds 0 and
// 1 have no length and cannot be in it.
func AppendTCPOptions(b []byte, list []TCPOption) ([]byte, error) {
	for _, o := range list {
		n := 2 + len(o.Value)
		if o.Kind <= KindNoOperation || n > 255 {
			return b, fmt.Errorf("%w: kind %d with %d bytes", errOption, o.Kind, n)
		}
		b = append(append(b, o.Kind, byte(n)), o.Value...)
	}
	return b, nil
}
