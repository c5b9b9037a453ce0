// SPDX-License-Identifier: Apache-2.0

// Package packettest makes captures of segments, for tests.
package packettest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tandem-gateway/tandem/trace/packet"
)

// IP encodes a segment as IP packet; its payload is as long as Len says. Options
// are padded.
func IP(s packet.Segment) []byte {
	options := append([]byte(nil), s.Options...)
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	tcp := binary.BigEndian.AppendUint16(nil, s.Src.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, s.Dst.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, s.Seq)
	tcp = binary.BigEndian.AppendUint32(tcp, s.Ack)
	tcp = append(tcp, byte(5+len(options)/4)<<4, byte(s.Flags), 0, 0, 0, 0, 0, 0)
	tcp = append(append(tcp, options...), s.Payload...)
	tcp = append(tcp, make([]byte, s.Len-len(s.Payload))...)

	var b []byte
	const protocolTCP = 6
	if s.Src.Addr().Is4() {
		const header = 20
		b = binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(header+len(tcp)))
		b = append(b, 0, 0, 0x40, 0, 64, protocolTCP, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(tcp)))
		b = append(b, protocolTCP, 64)
	}
	b = append(b, s.Src.Addr().AsSlice()...)
	b = append(b, s.Dst.Addr().AsSlice()...)
	return append(b, tcp...)
}

// Ethernet encodes a segment as Ethernet frame.
func Ethernet(s packet.Segment) []byte {
	kind := uint16(layers.EthernetTypeIPv4)
	if s.Src.Addr().Is6() {
		kind = uint16(layers.EthernetTypeIPv6)
	}
	return append(binary.BigEndian.AppendUint16(make([]byte, 12), kind), IP(s)...)
}

// Pcap makes a pcap file of Ethernet frames.
func Pcap(t testing.TB, all ...packet.Segment) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		frame := Ethernet(s)
		info := gopacket.CaptureInfo{Timestamp: s.Time, CaptureLength: len(frame), Length: len(frame)}
		if err := w.WritePacket(info, frame); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// Read reads all segments of a capture.
func Read(t testing.TB, r *packet.Reader) []packet.Segment {
	t.Helper()
	all, err := r.Rest()
	if err != nil {
		t.Fatal(err)
	}
	return all
}
