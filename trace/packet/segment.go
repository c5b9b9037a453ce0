// SPDX-License-Identifier: Apache-2.0

// Package packet reads the TCP segments of packet captures: pcap and pcapng
// files, one segment after another, in as much memory as a packet takes.
package packet

import (
	"iter"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/trace/wire"
)

// Flags are the control bits of a TCP header (RFC 9293, section 3.1).
type Flags uint8

// The control bits that are looked at.
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
	KindFastOpen      = 34
)

// Segment is a captured TCP segment. Offloads are visible: a segment may be
// longer than the path allows.
type Segment struct {
	Time     time.Time
	Src, Dst netip.AddrPort
	Seq, Ack uint32
	Flags    Flags
	// Options is the part of the header that holds them.
	Options Options
	// OptionsCut tells that the capture has not got all of it.
	OptionsCut bool
	// Payload is what was captured of it; Len how long it was.
	Payload []byte
	Len     int
}

// IsSYN tells the first segment of a connection or subflow.
func (s Segment) IsSYN() bool { return s.Flags&(SYN|ACK) == SYN }

// IsSYNACK tells the answer to a SYN.
func (s Segment) IsSYNACK() bool { return s.Flags&(SYN|ACK) == SYN|ACK }

// Options are TCP options as they stand in a header (RFC 9293, section 3.1).
type Options []byte

// All yields kind and data of each option, which is what follows its length
// byte, up to the end of the list or the first malformed one.
func (o Options) All() iter.Seq2[uint8, []byte] {
	return func(yield func(uint8, []byte) bool) {
		const endOfList, noOperation = 0, 1
		for p := []byte(o); len(p) > 0 && p[0] != endOfList; {
			if p[0] == noOperation {
				p = p[1:]
				continue
			}
			if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
				return
			}
			if !yield(p[0], p[2:p[1]:p[1]]) {
				return
			}
			p = p[p[1]:]
		}
	}
}

// Find finds the first option of a kind and returns its data.
func (o Options) Find(kind uint8) ([]byte, bool) {
	for k, data := range o.All() {
		if k == kind {
			return data, true
		}
	}
	return nil, false
}

// MPTCP finds the first MPTCP option of a subtype and returns its data, which
// starts with the byte that holds the subtype.
func (o Options) MPTCP(subtype wire.Subtype) ([]byte, bool) {
	for kind, data := range o.All() {
		if kind == wire.Kind {
			if t, ok := wire.SubtypeOf(data); ok && t == subtype {
				return data, true
			}
		}
	}
	return nil, false
}
