// SPDX-License-Identifier: Apache-2.0

package packet

import "encoding/binary"

var be = binary.BigEndian

// EtherTypes (IANA registry "IEEE 802 Numbers").
const (
	etherIPv4     = 0x0800
	etherIPv6     = 0x86dd
	etherVLAN     = 0x8100
	etherProvider = 0x88a8 // outer tag of IEEE 802.1ad
	etherPPPoE    = 0x8864 // session stage, RFC 2516
)

// Numbers of PPP (RFC 1661) for IP.
const (
	pppIPv4 = 0x0021
	pppIPv6 = 0x0057
)

// Lengths of headers.
const (
	ethernetLen = 14
	vlanLen     = 4
	pppoeLen    = 6
	sllLen      = 16
	sll2Len     = 20
	nullLen     = 4
)

// linkTypes are those that can be read (registry of LINKTYPE_ values): each
// function returns the IP packet in a frame, nil if there is none.
var linkTypes = map[uint16]func(frame []byte) []byte{
	0:   loopback, // LINKTYPE_NULL
	1:   func(f []byte) []byte { return tagged(f, ethernetLen-2) },
	101: bare, // LINKTYPE_RAW
	108: loopback,
	113: func(f []byte) []byte { return tagged(f, sllLen-2) },
	228: bare, // LINKTYPE_IPV4
	229: bare, // LINKTYPE_IPV6
	276: linuxSLL2,
	// What files of some systems have for raw IP: see pcap-linktype(7).
	12: bare,
	14: bare,
}

func bare(frame []byte) []byte { return frame }

// tagged reads a frame with an EtherType at some place, and what tags follow.
func tagged(frame []byte, at int) []byte {
	for len(frame) >= at+2 {
		kind := be.Uint16(frame[at:])
		frame = frame[at+2:]
		switch kind {
		case etherIPv4, etherIPv6:
			return frame
		case etherVLAN, etherProvider:
			at = vlanLen - 2
		case etherPPPoE:
			if len(frame) < pppoeLen+2 {
				return nil
			}
			if p := be.Uint16(frame[pppoeLen:]); p != pppIPv4 && p != pppIPv6 {
				return nil
			}
			return frame[pppoeLen+2:]
		default:
			return nil
		}
	}
	return nil
}

// linuxSLL2 reads a frame of Linux's cooked capture, version 2, which starts
// with the EtherType.
func linuxSLL2(frame []byte) []byte {
	if len(frame) < sll2Len {
		return nil
	}
	switch be.Uint16(frame) {
	case etherIPv4, etherIPv6:
		return frame[sll2Len:]
	case etherVLAN, etherProvider:
		return tagged(frame[sll2Len:], vlanLen-2)
	}
	return nil
}

// loopback leaves the address family out, whose number and byte order depend on
// the system: IP packets tell their version.
func loopback(frame []byte) []byte {
	if len(frame) < nullLen {
		return nil
	}
	return frame[nullLen:]
}
