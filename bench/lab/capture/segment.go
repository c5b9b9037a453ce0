// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"net/netip"
	"time"
)

// Flags are the control bits of a TCP header (RFC 9293, section 3.1).
type Flags uint8

// The control bits that tests look at.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Kinds of TCP options (IANA registry "TCP Option Kind Numbers").
const (
	KindMSS           = 2
	KindWindowScale   = 3
	KindSACKPermitted = 4
	KindTimestamps    = 8
	KindMPTCP         = 30
	KindFastOpen      = 34
)

// Subtypes of the MPTCP option (RFC 8684, section 3): the upper half of the
// first byte of its data.
const (
	MPCapable = 0
	MPJoin    = 1
	DSS       = 2
)

// Option is a TCP option; Data is what follows its length byte.
type Option struct {
	Kind uint8
	Data []byte
}

// Segment is a captured TCP segment. Offloads are visible: a segment may be
// longer than the path allows.
type Segment struct {
	Time     time.Time
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Flags    Flags
	Options  []Option
	Payload  []byte
}

// IsSYN tells the first segment of a connection or subflow.
func (s Segment) IsSYN() bool { return s.Flags&(SYN|ACK) == SYN }

// IsSYNACK tells the answer to a SYN.
func (s Segment) IsSYNACK() bool { return s.Flags&(SYN|ACK) == SYN|ACK }

// Option finds the first option of a kind and returns its data.
func (s Segment) Option(kind uint8) ([]byte, bool) {
	for _, o := range s.Options {
		if o.Kind == kind {
			return o.Data, true
		}
	}
	return nil, false
}

// MPTCP reports whether the segment has an MPTCP option of the subtype, and
// returns its data, which starts with the byte that holds the subtype.
func (s Segment) MPTCP(subtype uint8) ([]byte, bool) {
	for _, o := range s.Options {
		if o.Kind == KindMPTCP && len(o.Data) > 0 && o.Data[0]>>4 == subtype {
			return o.Data, true
		}
	}
	return nil, false
}
