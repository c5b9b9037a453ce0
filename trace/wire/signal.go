// SPDX-License-Identifier: Apache-2.0

package wire

// Signal is a DSS option (RFC 8684, section 3.3): what maps the bytes of a
// subflow to those of the connection, and acknowledges the latter.
type Signal struct {
	Acked bool // there is a data acknowledgment
	Ack   uint64
	Ack64 bool // of 64 bits; otherwise only the lower 32 are there

	Mapped bool
	DSN    uint64
	DSN64  bool
	// Subflow is the place in the subflow, whose first byte of data is 1.
	Subflow uint32
	// Length is the number of bytes; 0 maps without end (section 3.7). It counts
	// the DATA_FIN if there is one.
	Length uint16
	// Checksum tells that there is one.
	Checksum bool
	// Fin is the DATA_FIN: the stream of the sender ends.
	Fin bool
}

// flags of DSS.
const (
	flagAck     = 0x01
	flagAck64   = 0x02
	flagMapping = 0x04
	flagDSN64   = 0x08
	flagFin     = 0x10
)

// Infinite tells that the mapping falls back to TCP.
func (s *Signal) Infinite() bool { return s.Mapped && s.Length == 0 }

// ParseSignal reads a DSS option.
func ParseSignal(data []byte) (Signal, bool) {
	if len(data) < 2 || Subtype(data[0]>>4) != DSS {
		return Signal{}, false
	}
	flags := data[1]
	data = data[2:]
	var s Signal
	if flags&flagAck != 0 {
		s.Acked, s.Ack64 = true, flags&flagAck64 != 0
		var ok bool
		if s.Ack, data, ok = number(data, s.Ack64); !ok {
			return Signal{}, false
		}
	}
	if flags&flagMapping == 0 {
		if len(data) > 0 {
			return Signal{}, false
		}
		return s, true
	}
	s.Mapped, s.DSN64, s.Fin = true, flags&flagDSN64 != 0, flags&flagFin != 0
	var ok bool
	if s.DSN, data, ok = number(data, s.DSN64); !ok {
		return Signal{}, false
	}
	const without, with = 6, 8 // the checksum
	if len(data) != without && len(data) != with {
		return Signal{}, false
	}
	s.Subflow, s.Length, s.Checksum = be.Uint32(data), be.Uint16(data[4:]), len(data) == with
	return s, true
}

// number reads a number of 4 or 8 bytes and returns what follows it.
func number(data []byte, long bool) (uint64, []byte, bool) {
	switch {
	case long && len(data) >= 8:
		return be.Uint64(data), data[8:], true
	case !long && len(data) >= 4:
		return uint64(be.Uint32(data)), data[4:], true
	}
	return 0, nil, false
}
