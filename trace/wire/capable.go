// SPDX-License-Identifier: Apache-2.0

package wire

// Capable is an MP_CAPABLE option (RFC 8684, section 3.1).
type Capable struct {
	Version uint8
	// Checksum asks for checksums of data (flag A).
	Checksum bool
	// NoJoin asks not to open subflows to this address and port (flag C,
	// version 1).
	NoJoin bool
	// Keys is how many there are: none in a SYN of version 1, that of the sender
	// in a SYN of version 0 and in a SYN-ACK, then those of both.
	Keys                   int
	SenderKey, ReceiverKey uint64
	// Mapped tells that the option maps the first DataLen bytes of the stream.
	Mapped  bool
	DataLen uint16
}

// Lengths of MP_CAPABLE.
const (
	capableSYN      = 4 // version 1
	capableOneKey   = 12
	capableTwoKeys  = 20
	capableData     = 22 // and with a checksum
	capableChecksum = 24
)

// flags of MP_CAPABLE.
const (
	capableFlagChecksum = 0x80
	capableFlagNoJoin   = 0x20
)

// ParseCapable reads an MP_CAPABLE option.
func ParseCapable(data []byte) (Capable, bool) {
	length := len(data) + headerLen
	switch length {
	case capableSYN, capableOneKey, capableTwoKeys, capableData, capableChecksum:
	default:
		return Capable{}, false
	}
	if Subtype(data[0]>>4) != MPCapable {
		return Capable{}, false
	}
	c := Capable{Version: data[0] & 0xf, Checksum: data[1]&capableFlagChecksum != 0}
	c.NoJoin = c.Version > 0 && data[1]&capableFlagNoJoin != 0
	if length >= capableOneKey {
		c.Keys, c.SenderKey = 1, be.Uint64(data[2:])
	}
	if length >= capableTwoKeys {
		c.Keys, c.ReceiverKey = 2, be.Uint64(data[10:])
	}
	if length >= capableData {
		c.Mapped, c.DataLen = true, be.Uint16(data[18:])
	}
	return c, true
}
