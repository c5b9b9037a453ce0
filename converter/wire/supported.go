// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// parseSupported returns the kinds of a Supported TCP Extensions TLV (RFC
// 8803, section 6.2.4). Kinds 0 to 2 are part of every TCP and cannot be
// listed; 0 is padding. Never nil.
func parseSupported(body []byte) []uint8 {
	kinds := make([]uint8, 0, len(body)-reservedLen)
	for _, k := range body[reservedLen:] {
		if k > KindMaxSegment {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func appendSupported(b []byte, kinds []uint8) ([]byte, error) {
	for _, k := range kinds {
		if k <= KindMaxSegment {
			return b, fmt.Errorf("%s: kind %d cannot be listed", TypeSupported, k)
		}
	}
	return appendTLV(b, TypeSupported, reserved, kinds)
}
