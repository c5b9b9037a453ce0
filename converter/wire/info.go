// SPDX-License-Identifier: Apache-2.0

package wire

// parseInfo checks the body of an Info TLV (RFC 8803, section 6.2.3): the
// client asks which TCP extensions the converter supports.
func parseInfo(body []byte) error {
	if len(body) != reservedLen {
		return malformed("%s: length is not one word", TypeInfo)
	}
	return nil
}

func appendInfo(b []byte) ([]byte, error) {
	return appendTLV(b, TypeInfo, reserved)
}
