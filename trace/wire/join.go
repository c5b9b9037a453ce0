// SPDX-License-Identifier: Apache-2.0

package wire

// Join is an MP_JOIN option (RFC 8684, section 3.2). What it holds depends on
// the segment that it is in.
type Join struct {
	Step JoinStep
	// Backup asks not to use the subflow while others work; in SYN and SYN-ACK.
	Backup bool
	// AddressID names the sender's address; in SYN and SYN-ACK.
	AddressID uint8
	Token     uint32 // of the receiver; in a SYN
	Nonce     uint32 // of the sender; in SYN and SYN-ACK
	// HMAC is a part of data: 8 bytes in a SYN-ACK, 20 in the ACK after it.
	HMAC []byte
}

// JoinStep is a segment of the handshake of a subflow.
type JoinStep uint8

// The segments of the handshake, told by the length of the option.
const (
	JoinSYN JoinStep = iota
	JoinSYNACK
	JoinACK
)

// Lengths of MP_JOIN.
const (
	joinSYN    = 12
	joinSYNACK = 16
	joinACK    = 24
)

const joinFlagBackup = 0x01

// ParseJoin reads an MP_JOIN option.
func ParseJoin(data []byte) (Join, bool) {
	if len(data) < 2 || Subtype(data[0]>>4) != MPJoin {
		return Join{}, false
	}
	j := Join{Backup: data[0]&joinFlagBackup != 0, AddressID: data[1]}
	switch len(data) + headerLen {
	case joinSYN:
		j.Step, j.Token, j.Nonce = JoinSYN, be.Uint32(data[2:]), be.Uint32(data[6:])
	case joinSYNACK:
		j.Step, j.HMAC, j.Nonce = JoinSYNACK, data[2:10], be.Uint32(data[10:])
	case joinACK:
		j = Join{Step: JoinACK, HMAC: data[2:22]}
	default:
		return Join{}, false
	}
	return j, true
}
