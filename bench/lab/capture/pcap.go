// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrFormat reports a file that is not a classic pcap file of Ethernet frames or
// of IP packets.
var ErrFormat = errors.New("not a pcap file of ethernet frames or ip packets")

// Sizes and numbers of the pcap format (draft-ietf-opsawg-pcap, sections 4 and
// 5) and of the frames in it.
const (
	fileHeaderLen   = 24
	packetHeaderLen = 16
	magicMicros     = 0xa1b2c3d4
	magicNanos      = 0xa1b23c4d
	linkEthernet    = 1
	linkRaw         = 101 // IP packets, as of a TUN device

	ethernetLen   = 14
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	protocolTCP   = 6
	ipv6Len       = 40
	minIPv4Len    = 20
	minTCPLen     = 20
)

// Parse reads the TCP segments of a pcap file in their order. Other packets are
// left out, and so is a last packet that is still being written.
func Parse(file []byte) ([]Segment, error) {
	if len(file) < fileHeaderLen {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(file))
	}
	var order binary.ByteOrder = binary.LittleEndian
	magic := order.Uint32(file)
	if magic != magicMicros && magic != magicNanos {
		order = binary.BigEndian
		magic = order.Uint32(file)
	}
	unit := time.Microsecond
	switch magic {
	case magicMicros:
	case magicNanos:
		unit = time.Nanosecond
	default:
		return nil, fmt.Errorf("%w: magic %#08x", ErrFormat, magic)
	}
	// The upper bits of the field tell the length of a frame check sequence.
	parse := parseFrame
	switch link := order.Uint32(file[20:]) & 0xffff; link {
	case linkEthernet:
	case linkRaw:
		parse = parsePacket
	default:
		return nil, fmt.Errorf("%w: link type %d", ErrFormat, link)
	}
	var segments []Segment
	for rest := file[fileHeaderLen:]; len(rest) >= packetHeaderLen; {
		captured := order.Uint32(rest[8:])
		if uint64(captured) > uint64(len(rest)-packetHeaderLen) {
			break
		}
		frame := rest[packetHeaderLen : packetHeaderLen+captured]
		if s, ok := parse(frame); ok {
			s.Time = time.Unix(int64(order.Uint32(rest)), int64(order.Uint32(rest[4:]))*int64(unit))
			segments = append(segments, s)
		}
		rest = rest[packetHeaderLen+captured:]
	}
	return segments, nil
}

// parseFrame reads the TCP segment in an Ethernet frame, if there is one.
func parseFrame(frame []byte) (Segment, bool) {
	if len(frame) < ethernetLen {
		return Segment{}, false
	}
	packet := frame[ethernetLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeIPv4:
		return parseIPv4(packet)
	case etherTypeIPv6:
		return parseIPv6(packet)
	}
	return Segment{}, false
}

// parsePacket reads the TCP segment in an IP packet, if there is one.
func parsePacket(p []byte) (Segment, bool) {
	if s, ok := parseIPv4(p); ok {
		return s, true
	}
	return parseIPv6(p)
}

func parseIPv4(p []byte) (Segment, bool) {
	if len(p) < minIPv4Len || p[0]>>4 != 4 || p[9] != protocolTCP {
		return Segment{}, false
	}
	header := int(p[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(p[2:]))
	if header < minIPv4Len || total < header || len(p) < header {
		return Segment{}, false
	}
	const offsetMask = 0x1fff // of a fragment: only the first has the TCP header
	if binary.BigEndian.Uint16(p[6:])&offsetMask != 0 {
		return Segment{}, false
	}
	// Short frames are padded beyond the packet.
	return parseTCP(p[header:min(total, len(p))],
		netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])))
}

// parseIPv6 leaves out packets with extension headers, which no lab makes.
func parseIPv6(p []byte) (Segment, bool) {
	if len(p) < ipv6Len || p[0]>>4 != 6 || p[6] != protocolTCP {
		return Segment{}, false
	}
	total := ipv6Len + int(binary.BigEndian.Uint16(p[4:]))
	return parseTCP(p[ipv6Len:min(total, len(p))],
		netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])))
}

func parseTCP(p []byte, src, dst netip.Addr) (Segment, bool) {
	if len(p) < minTCPLen {
		return Segment{}, false
	}
	header := int(p[12]>>4) * 4
	if header < minTCPLen || header > len(p) {
		return Segment{}, false
	}
	return Segment{
		Src:     netip.AddrPortFrom(src, binary.BigEndian.Uint16(p)),
		Dst:     netip.AddrPortFrom(dst, binary.BigEndian.Uint16(p[2:])),
		Seq:     binary.BigEndian.Uint32(p[4:]),
		Ack:     binary.BigEndian.Uint32(p[8:]),
		Flags:   Flags(p[13]),
		Options: parseOptions(p[minTCPLen:header]),
		Payload: p[header:],
	}, true
}

// parseOptions reads TCP options (RFC 9293, section 3.1) up to the end of the
// list or the first malformed one.
func parseOptions(p []byte) []Option {
	const endOfList, noOperation = 0, 1
	var options []Option
	for len(p) > 0 && p[0] != endOfList {
		if p[0] == noOperation {
			p = p[1:]
			continue
		}
		if len(p) < 2 || p[1] < 2 || int(p[1]) > len(p) {
			break
		}
		options = append(options, Option{Kind: p[0], Data: p[2:p[1]]})
		p = p[p[1]:]
	}
	return options
}
