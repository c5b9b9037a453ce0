// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// appendFrame encodes a segment as an Ethernet frame; raw options are appended
// as they are and padded.
func appendFrame(b []byte, s Segment, rawOptions ...byte) []byte {
	var options []byte
	for _, o := range s.Options {
		options = append(options, o.Kind, byte(2+len(o.Data)))
		options = append(options, o.Data...)
	}
	options = append(options, rawOptions...)
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	tcp := binary.BigEndian.AppendUint16(nil, s.Src.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, s.Dst.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, s.Seq)
	tcp = binary.BigEndian.AppendUint32(tcp, s.Ack)
	tcp = append(tcp, byte(5+len(options)/4)<<4, byte(s.Flags), 0, 0, 0, 0, 0, 0)
	tcp = append(append(tcp, options...), s.Payload...)

	b = append(b, make([]byte, 12)...)
	if s.Src.Addr().Is4() {
		b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(minIPv4Len+len(tcp)))
		b = append(b, 0, 0, 0x40, 0, 64, protocolTCP, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, etherTypeIPv6)
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(tcp)))
		b = append(b, protocolTCP, 64)
	}
	b = append(b, s.Src.Addr().AsSlice()...)
	b = append(b, s.Dst.Addr().AsSlice()...)
	return append(b, tcp...)
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

func fileHeader(order byteOrder, magic uint32) []byte {
	b := order.AppendUint32(nil, magic)
	b = append(b, make([]byte, 12)...)
	b = order.AppendUint32(b, 1<<18)
	return order.AppendUint32(b, linkEthernet)
}

func appendPacket(b []byte, order byteOrder, sec, frac uint32, frame []byte) []byte {
	b = order.AppendUint32(b, sec)
	b = order.AppendUint32(b, frac)
	b = order.AppendUint32(b, uint32(len(frame)))
	b = order.AppendUint32(b, uint32(len(frame)))
	return append(b, frame...)
}

func samples() []Segment {
	return []Segment{
		{
			Src: netip.MustParseAddrPort("192.0.2.1:1234"), Dst: netip.MustParseAddrPort("198.51.100.2:80"),
			Seq: 7, Flags: SYN,
			Options: []Option{
				{Kind: KindMSS, Data: []byte{0x05, 0xb4}},
				{Kind: KindMPTCP, Data: []byte{MPCapable<<4 | 1, 1}},
				{Kind: KindFastOpen, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
			},
			Payload: []byte("in the syn"),
		},
		{
			Src: netip.MustParseAddrPort("[2001:db8::1]:80"), Dst: netip.MustParseAddrPort("[2001:db8::2]:1234"),
			Seq: 1 << 31, Ack: 18, Flags: SYN | ACK,
			Options: []Option{{Kind: KindMPTCP, Data: []byte{MPJoin << 4, 0}}},
		},
		{
			Src: netip.MustParseAddrPort("192.0.2.1:1234"), Dst: netip.MustParseAddrPort("198.51.100.2:80"),
			Seq: 8, Ack: 9, Flags: ACK | PSH, Payload: []byte("data"),
		},
	}
}

var compare = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.EquateComparable(netip.AddrPort{}),
	cmpopts.IgnoreFields(Segment{}, "Time"),
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		order byteOrder
		magic uint32
		want  time.Time
	}{
		{"little endian, microseconds", binary.LittleEndian, magicMicros, time.Unix(5, 6000)},
		{"big endian, microseconds", binary.BigEndian, magicMicros, time.Unix(5, 6000)},
		{"little endian, nanoseconds", binary.LittleEndian, magicNanos, time.Unix(5, 6)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := fileHeader(tt.order, tt.magic)
			for _, s := range samples() {
				file = appendPacket(file, tt.order, 5, 6, appendFrame(nil, s))
			}
			got, err := Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(samples(), got, compare); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if !got[0].Time.Equal(tt.want) {
				t.Errorf("time %v, want %v", got[0].Time, tt.want)
			}
		})
	}
}

func TestParseLeavesOut(t *testing.T) {
	tcp := samples()[2]
	good := appendFrame(nil, tcp)
	change := func(at int, value byte) []byte {
		f := slices.Clone(good)
		f[at] = value
		return f
	}
	const ip = ethernetLen
	for name, frame := range map[string][]byte{
		"empty":               {},
		"arp":                 change(12, 0x88),
		"udp":                 change(ip+9, 17),
		"other ip version":    change(ip, 0x55),
		"short ip header":     change(ip, 0x44),
		"later fragment":      change(ip+7, 1),
		"short tcp header":    change(ip+minIPv4Len+12, 0x40),
		"tcp header too long": change(ip+minIPv4Len+12, 0xf0),
		"cut in tcp":          good[:ip+minIPv4Len+10],
		"cut in ip":           good[:ip+10],
	} {
		file := appendPacket(fileHeader(binary.LittleEndian, magicMicros), binary.LittleEndian, 0, 0, frame)
		file = appendPacket(file, binary.LittleEndian, 0, 0, good)
		got, err := Parse(file)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %d segments (%v), want the one after it", name, len(got), err)
		}
	}
	// Ethernet pads short frames; a file may end within a packet.
	file := fileHeader(binary.LittleEndian, magicMicros)
	file = appendPacket(file, binary.LittleEndian, 0, 0, append(slices.Clone(good), 0, 0, 0))
	file = appendPacket(file, binary.LittleEndian, 0, 0, good)
	got, err := Parse(file[:len(file)-1])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Segment{tcp}, got, compare); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	wrongLink := fileHeader(binary.LittleEndian, magicMicros)
	wrongLink[20] = 105 // Wi-Fi
	for name, file := range map[string][]byte{
		"short":          make([]byte, fileHeaderLen-1),
		"wrong magic":    make([]byte, fileHeaderLen),
		"not ethernet":   wrongLink,
		"pcapng's magic": fileHeader(binary.LittleEndian, 0x0a0d0d0a),
	} {
		if _, err := Parse(file); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	s := samples()[0]
	if data, ok := s.Option(KindFastOpen); !ok || len(data) != 8 {
		t.Errorf("fast open option %v %v", data, ok)
	}
	if _, ok := s.Option(KindTimestamps); ok {
		t.Error("found an option that is not there")
	}
	if _, ok := s.MPTCP(MPCapable); !ok {
		t.Error("no MP_CAPABLE")
	}
	if _, ok := s.MPTCP(MPJoin); ok {
		t.Error("MP_JOIN found")
	}
	if !s.IsSYN() || s.IsSYNACK() || samples()[1].IsSYN() || !samples()[1].IsSYNACK() || samples()[2].IsSYN() {
		t.Error("SYN and SYN-ACK are not told apart")
	}
	// No-operation, then an option whose length runs over the end.
	got := parseOptions([]byte{1, 1, KindWindowScale, 3, 7, KindMSS, 4, 5})
	want := []Option{{Kind: KindWindowScale, Data: []byte{7}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		file := fileHeader(order, magicMicros)
		for _, s := range samples() {
			file = appendPacket(file, order, 1, 2, appendFrame(nil, s, 1, KindMSS, 9))
			f.Add(slices.Clone(file))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		segments, err := Parse(file)
		if err != nil {
			return
		}
		var size int
		again := fileHeader(binary.LittleEndian, magicMicros)
		for _, s := range segments {
			size += len(s.Payload) + packetHeaderLen
			again = appendPacket(again, binary.LittleEndian, 0, 0, appendFrame(nil, s))
		}
		if size > len(file) {
			t.Fatalf("%d bytes of segments out of a file of %d", size, len(file))
		}
		reparsed, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(segments, reparsed, compare); diff != "" {
			t.Errorf("changed by encoding: -first +second:\n%s", diff)
		}
	})
}
