// SPDX-License-Identifier: Apache-2.0

package wire

// parseCookie returns the content of a Cookie TLV (RFC 8803, section 6.2.7).
// The TLV does not say where the cookie ends and its padding begins, so a
// cookie whose length is not a multiple of four comes back padded. Never nil.
func parseCookie(body []byte) []byte { return body[reservedLen:] }

func appendCookie(b, cookie []byte) ([]byte, error) {
	return appendTLV(b, TypeCookie, reserved, cookie)
}
