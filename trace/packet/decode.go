// SPDX-License-Identifier: Apache-2.0

package packet

import "net/netip"

// Lengths of headers, and numbers of protocols (IANA registry "Protocol
// Numbers").
const (
	minIPv4Len  = 20
	ipv6Len     = 40
	minTCPLen   = 20
	fragmentLen = 8

	protocolTCP     = 6
	extHopByHop     = 0
	extRouting      = 43
	extFragment     = 44
	extDestinations = 60
)

// decode reads the TCP segment in an IP packet, if there is one, into s. The
// length on the wire tells how long a packet is that does not say so itself.
func decode(s *Segment, p []byte, wire int) bool {
	if len(p) == 0 {
		return false
	}
	switch p[0] >> 4 {
	case 4:
		return decodeIPv4(s, p, wire)
	case 6:
		return decodeIPv6(s, p, wire)
	}
	return false
}

func decodeIPv4(s *Segment, p []byte, wire int) bool {
	if len(p) < minIPv4Len || p[9] != protocolTCP {
		return false
	}
	header := int(p[0]&0xf) * 4
	total := int(be.Uint16(p[2:]))
	if total == 0 { // longer than the field can tell, as offloads make them
		total = wire
	}
	if header < minIPv4Len || total < header || len(p) < header {
		return false
	}
	const offsetMask = 0x1fff // of a fragment: only the first has the TCP header
	if be.Uint16(p[6:])&offsetMask != 0 {
		return false
	}
	src, dst := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	// Short frames are padded beyond the packet.
	return decodeTCP(s, p[header:min(total, len(p))], total-header, src, dst)
}

func decodeIPv6(s *Segment, p []byte, wire int) bool {
	if len(p) < ipv6Len {
		return false
	}
	total := ipv6Len + int(be.Uint16(p[4:]))
	if total == ipv6Len { // a jumbogram (RFC 2675), as offloads make them
		total = wire
	}
	if total < ipv6Len {
		return false
	}
	src, dst := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	next, rest := p[6], p[ipv6Len:min(total, len(p))]
	left := total - ipv6Len
	for next != protocolTCP {
		var length int
		switch next {
		case extHopByHop, extRouting, extDestinations:
			if len(rest) < 2 {
				return false
			}
			length = 8 + int(rest[1])*8
		case extFragment:
			const offsetMask = 0xfff8
			if len(rest) < fragmentLen || be.Uint16(rest[2:])&offsetMask != 0 {
				return false
			}
			length = fragmentLen
		default:
			return false
		}
		if len(rest) < length {
			return false
		}
		next, rest, left = rest[0], rest[length:], left-length
	}
	return decodeTCP(s, rest, left, src, dst)
}

// decodeTCP reads a segment of a length of which p was captured.
func decodeTCP(s *Segment, p []byte, length int, src, dst netip.Addr) bool {
	if len(p) < minTCPLen {
		return false
	}
	header := int(p[12]>>4) * 4
	if header < minTCPLen || header > length {
		return false
	}
	got := min(header, len(p))
	*s = Segment{
		Src:        netip.AddrPortFrom(src, be.Uint16(p)),
		Dst:        netip.AddrPortFrom(dst, be.Uint16(p[2:])),
		Seq:        be.Uint32(p[4:]),
		Ack:        be.Uint32(p[8:]),
		Flags:      Flags(p[13]),
		Options:    Options(p[minTCPLen:got:got]),
		OptionsCut: got < header,
		Payload:    p[got:len(p):len(p)],
		Len:        length - header,
	}
	return true
}
