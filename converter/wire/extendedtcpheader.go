// SPDX-License-Identifier: Apache-2.0

package wire

// parseExtendedTCPHeader returns the content of an Extended TCP Header TLV
// (RFC 8803, section 6.2.6): the options of the server's SYN-ACK, with the
// padding, which reads as End of Option List. Never nil.
func parseExtendedTCPHeader(body []byte) []byte { return body[reservedLen:] }

func appendExtendedTCPHeader(b, options []byte) ([]byte, error) {
	return appendTLV(b, TypeExtendedTCPHeader, reserved, options)
}

// mpCapableKey is where the sender's key lies in the value of an MP_CAPABLE
// option: after subtype and version, and flags (RFC 8684, section 3.1).
const mpCapableKey = 2

// HasMPCapable reports whether options, as in Message.ExtendedTCPHeader, show
// that the server speaks Multipath TCP: kind 30 with subtype 0.
func HasMPCapable(options []byte) bool {
	list, _ := ParseTCPOptions(options)
	for _, o := range list {
		if isMPCapable(o) {
			return true
		}
	}
	return false
}

// BlankMPTCPKeys overwrites the keys in MP_CAPABLE options with zeros, in
// place, and returns options up to where they can be understood. The keys
// authenticate further subflows of the connection and are not for the client.
func BlankMPTCPKeys(options []byte) []byte {
	list, err := ParseTCPOptions(options)
	for _, o := range list {
		if isMPCapable(o) && len(o.Value) > mpCapableKey {
			clear(o.Value[mpCapableKey:])
		}
	}
	if err == nil {
		return options
	}
	// What follows the broken option may be a key as well as anything else.
	return options[:understood(options)]
}

// understood is the length of the options before the first broken one.
func understood(options []byte) int {
	n := 0
	for n < len(options) && options[n] != KindEndOfList {
		switch {
		case options[n] == KindNoOperation:
			n++
		case n+1 < len(options) && options[n+1] >= 2 && n+int(options[n+1]) <= len(options):
			n += int(options[n+1])
		default:
			return n
		}
	}
	return n
}

func isMPCapable(o TCPOption) bool {
	return o.Kind == KindMPTCP && len(o.Value) > 0 && o.Value[0]>>4 == 0
}
