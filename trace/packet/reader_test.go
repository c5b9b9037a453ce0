// SPDX-License-Identifier: Apache-2.0

package packet_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/packet/packettest"
	"github.com/tandem-gateway/tandem/trace/wire"
)

var compare = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{})}

var start = time.Unix(1_700_000_000, 123_456_789).UTC()

func samples() []packet.Segment {
	return []packet.Segment{
		{
			Time: start, Src: netip.MustParseAddrPort("192.0.2.1:1234"), Dst: netip.MustParseAddrPort("198.51.100.2:80"),
			Seq: 7, Flags: packet.SYN,
			Options: packet.Options{packet.KindMSS, 4, 5, 180, 1, 1, 1, 1, wire.Kind, 4, 1, 1},
			Payload: []byte("in the syn"), Len: 10,
		},
		{
			Time: start.Add(time.Second), Src: netip.MustParseAddrPort("[2001:db8::1]:80"), Dst: netip.MustParseAddrPort("[2001:db8::2]:1234"),
			Seq: 1 << 31, Ack: 18, Flags: packet.SYN | packet.ACK,
		},
		{
			Time: start.Add(2 * time.Second), Src: netip.MustParseAddrPort("192.0.2.1:1234"), Dst: netip.MustParseAddrPort("198.51.100.2:80"),
			Seq: 8, Ack: 9, Flags: packet.ACK | packet.PSH, Payload: []byte("data"), Len: 4,
		},
	}
}

func open(t *testing.T, file []byte) *packet.Reader {
	t.Helper()
	r, err := packet.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pcap makes a file of one frame of which some bytes were captured.
func pcap(t *testing.T, link layers.LinkType, frame []byte, captured int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := errors.Join(w.WriteFileHeader(1<<18, link),
		w.WritePacket(gopacket.CaptureInfo{Timestamp: start, CaptureLength: captured, Length: len(frame)}, frame[:captured])); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// interfaces makes a pcapng file of samples, each from an interface with another
// link type; the last one cannot be read.
func interfaces(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	types := []layers.LinkType{layers.LinkTypeEthernet, layers.LinkTypeRaw, layers.LinkTypeIEEE802_11}
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{LinkType: types[0], TimestampResolution: 9}, pcapgo.DefaultNgWriterOptions)
	for _, link := range types[1:] {
		_, addErr := w.AddInterface(pcapgo.NgInterface{LinkType: link, TimestampResolution: 9})
		err = errors.Join(err, addErr)
	}
	for i, s := range samples() {
		frame := packettest.IP(s)
		if types[i] == layers.LinkTypeEthernet {
			frame = packettest.Ethernet(s)
		}
		info := gopacket.CaptureInfo{Timestamp: s.Time, CaptureLength: len(frame), Length: len(frame), InterfaceIndex: i}
		err = errors.Join(err, w.WritePacket(info, frame))
	}
	if err := errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReader(t *testing.T) {
	file := packettest.Pcap(t, samples()...)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(file)
	z.Close()
	for name, tt := range map[string]struct {
		file []byte
		want []packet.Segment
		cut  bool
	}{
		"pcap":             {file, samples(), false},
		"gzip":             {zipped.Bytes(), samples(), false},
		"pcapng":           {interfaces(t), samples()[:2], false},
		"within a packet":  {file[:len(file)-1], samples()[:2], true},
		"within a header":  {file[:24+16+1], nil, true},
		"before any":       {file[:24], nil, false},
		"within the third": {zipped.Bytes()[:zipped.Len()-12], nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, tt.file)
			got := packettest.Read(t, r)
			if name == "within the third" { // how much that is depends on the compression
				got = nil
			}
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if s := r.Stats(); s.Truncated != tt.cut || name != "within the third" && s.Segments != uint64(len(tt.want)) {
				t.Errorf("%+v", s)
			}
		})
	}
	s := open(t, interfaces(t))
	packettest.Read(t, s)
	if got := s.Stats(); got.Packets != 3 || got.Unread != 1 || !got.First.Equal(start) || !got.Last.Equal(start.Add(2*time.Second)) {
		t.Errorf("%+v", got)
	}
}

func TestReaderRefuses(t *testing.T) {
	wrongVersion := packettest.Pcap(t)
	wrongVersion[4] = 9
	for name, file := range map[string][]byte{
		"empty":         {},
		"short":         make([]byte, 10),
		"wrong magic":   make([]byte, 24),
		"wrong version": wrongVersion,
		"Wi-Fi":         pcap(t, layers.LinkTypeIEEE802_11, []byte{0}, 1),
		"short pcapng":  {0x0a, 0x0d, 0x0d, 0x0a, 0},
		"short gzip":    {0x1f, 0x8b, 8},
	} {
		if _, err := packet.NewReader(bytes.NewReader(file)); !errors.Is(err, packet.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	if _, err := packet.NewReader(io.MultiReader(bytes.NewReader(nil), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLinkTypes(t *testing.T) {
	v4, v6 := samples()[2], samples()[1]
	v4.Time, v6.Time = start.Truncate(time.Microsecond), start.Truncate(time.Microsecond)
	ip4, ip6 := packettest.IP(v4), packettest.IP(v6)
	join := func(header []byte, packet []byte) []byte { return append(slices.Clone(header), packet...) }
	ether := func(types ...uint16) []byte {
		b := make([]byte, 12)
		for i, kind := range types {
			b = binary.BigEndian.AppendUint16(b, kind)
			if i < len(types)-1 {
				b = append(b, 0, 7) // the VLAN
			}
		}
		return b
	}
	sll := make([]byte, 14)
	sll2 := func(kind uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, kind), make([]byte, 18)...) }
	pppoe := append(ether(0x8864), 0x11, 0, 0, 1, 0, 0)
	for name, tt := range map[string]struct {
		link  layers.LinkType
		frame []byte
		want  *packet.Segment // nil: none
	}{
		"Ethernet, IPv4":   {layers.LinkTypeEthernet, join(ether(0x0800), ip4), &v4},
		"Ethernet, IPv6":   {layers.LinkTypeEthernet, join(ether(0x86dd), ip6), &v6},
		"padded":           {layers.LinkTypeEthernet, append(join(ether(0x0800), ip4), 0, 0, 0), &v4},
		"VLAN":             {layers.LinkTypeEthernet, join(ether(0x8100, 0x86dd), ip6), &v6},
		"two VLANs":        {layers.LinkTypeEthernet, join(ether(0x88a8, 0x8100, 0x0800), ip4), &v4},
		"PPPoE, IPv4":      {layers.LinkTypeEthernet, join(append(slices.Clone(pppoe), 0, 0x21), ip4), &v4},
		"PPPoE, IPv6":      {layers.LinkTypeEthernet, join(append(slices.Clone(pppoe), 0, 0x57), ip6), &v6},
		"PPPoE, LCP":       {layers.LinkTypeEthernet, join(append(slices.Clone(pppoe), 0xc0, 0x21), ip4), nil},
		"cooked":           {layers.LinkTypeLinuxSLL, join(append(slices.Clone(sll), 0x08, 0), ip4), &v4},
		"cooked 2, IPv4":   {layers.LinkTypeLinuxSLL2, join(sll2(0x0800), ip4), &v4},
		"cooked 2, IPv6":   {layers.LinkTypeLinuxSLL2, join(sll2(0x86dd), ip6), &v6},
		"cooked 2, VLAN":   {layers.LinkTypeLinuxSLL2, join(append(sll2(0x8100), 0, 7, 0x08, 0), ip4), &v4},
		"raw, IPv4":        {layers.LinkTypeRaw, ip4, &v4},
		"raw, IPv6":        {layers.LinkTypeRaw, ip6, &v6},
		"raw, by system":   {12, ip4, &v4},
		"IPv4":             {layers.LinkTypeIPv4, ip4, &v4},
		"IPv6":             {layers.LinkTypeIPv6, ip6, &v6},
		"loopback":         {layers.LinkTypeNull, join([]byte{2, 0, 0, 0}, ip4), &v4},
		"loopback, BSD":    {layers.LinkTypeLoop, join([]byte{0, 0, 0, 24}, ip6), &v6},
		"ARP":              {layers.LinkTypeEthernet, join(ether(0x0806), ip4), nil},
		"cooked 2, ARP":    {layers.LinkTypeLinuxSLL2, join(sll2(0x0806), ip4), nil},
		"short Ethernet":   {layers.LinkTypeEthernet, make([]byte, 13), nil},
		"short VLAN":       {layers.LinkTypeEthernet, ether(0x8100, 0x8100)[:17], nil},
		"short PPPoE":      {layers.LinkTypeEthernet, pppoe, nil},
		"short cooked 2":   {layers.LinkTypeLinuxSLL2, sll2(0x0800)[:19], nil},
		"short loopback":   {layers.LinkTypeNull, []byte{2, 0, 0}, nil},
		"nothing, raw":     {layers.LinkTypeRaw, []byte{}, nil},
		"nothing, cooked2": {layers.LinkTypeLinuxSLL2, sll2(0x0800), nil},
	} {
		got := packettest.Read(t, open(t, pcap(t, tt.link, tt.frame, len(tt.frame))))
		var want []packet.Segment
		if tt.want != nil {
			want = []packet.Segment{*tt.want}
		}
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestIPPackets(t *testing.T) {
	v4, v6 := packettest.IP(samples()[2]), packettest.IP(samples()[1])
	change := func(p []byte, at int, values ...byte) []byte {
		return slices.Replace(slices.Clone(p), at, at+len(values), values...)
	}
	extended := func(next byte, header ...byte) []byte {
		p := slices.Insert(slices.Clone(v6), 40, header...)
		p[6] = next
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		return p
	}
	for name, tt := range map[string]struct {
		packet []byte
		is     bool
	}{
		"as it is":                   {v4, true},
		"UDP":                        {change(v4, 9, 17), false},
		"other version":              {change(v4, 0, 0x55), false},
		"short IP header":            {change(v4, 0, 0x44), false},
		"shorter than its header":    {change(v4, 2, 0, 19), false},
		"first fragment":             {change(v4, 6, 0x20, 0), true},
		"later fragment":             {change(v4, 6, 0, 1), false},
		"short TCP header":           {change(v4, 20+12, 0x40), false},
		"TCP header beyond the end":  {change(v4, 20+12, 0xf0), false},
		"too long for the field":     {change(v4, 2, 0, 0), true},
		"IPv6":                       {v6, true},
		"IPv6 too long":              {change(v6, 4, 0, 0), true},
		"IPv6 UDP":                   {change(v6, 6, 17), false},
		"IPv6 hop by hop":            {extended(0, 6, 0, 0, 0, 0, 0, 0, 0), true},
		"IPv6 long destinations":     {extended(60, append([]byte{6, 1}, make([]byte, 14)...)...), true},
		"IPv6 first fragment":        {extended(44, 6, 0, 0, 1, 0, 0, 0, 0), true},
		"IPv6 later fragment":        {extended(44, 6, 0, 0, 8, 0, 0, 0, 0), false},
		"IPv6 extension without end": {extended(0, 6, 255, 0, 0, 0, 0, 0, 0), false},
		"IPv6 extension cut":         {extended(0, 6, 0)[:41], false},
		"cut in IPv4":                {v4[:19], false},
		"cut in IPv6":                {v6[:39], false},
		"cut in TCP":                 {v4[:39], false},
	} {
		got := packettest.Read(t, open(t, pcap(t, layers.LinkTypeRaw, tt.packet, len(tt.packet))))
		if (len(got) == 1) != tt.is {
			t.Errorf("%s: %d segments", name, len(got))
		}
	}
}

// TestSnapshotLength reads captures of the first bytes of packets.
func TestSnapshotLength(t *testing.T) {
	frame := packettest.Ethernet(samples()[0])
	for _, tt := range []struct {
		captured, options, payload int
		cut                        bool
	}{{len(frame) - 3, 12, 7, false}, {len(frame) - 10, 12, 0, false}, {len(frame) - 12, 10, 0, true}, {54, 0, 0, true}} {
		r := open(t, pcap(t, layers.LinkTypeEthernet, frame, tt.captured))
		got := packettest.Read(t, r)
		if len(got) != 1 {
			t.Fatalf("%d segments of %d bytes", len(got), tt.captured)
		}
		s := got[0]
		if len(s.Options) != tt.options || s.OptionsCut != tt.cut || len(s.Payload) != tt.payload || s.Len != 10 {
			t.Errorf("of %d bytes: %+v", tt.captured, s)
		}
		if n := r.Stats().OptionsCut; (n == 1) != tt.cut {
			t.Errorf("%d segments with options cut", n)
		}
	}
}

func TestOptions(t *testing.T) {
	s := samples()[0]
	if data, ok := s.Options.Find(packet.KindMSS); !ok || !slices.Equal(data, []byte{5, 180}) {
		t.Errorf("MSS %v %v", data, ok)
	}
	if _, ok := s.Options.Find(packet.KindTimestamps); ok {
		t.Error("found an option that is not there")
	}
	if data, ok := s.Options.MPTCP(wire.MPCapable); !ok || !slices.Equal(data, []byte{1, 1}) {
		t.Errorf("MP_CAPABLE %v %v", data, ok)
	}
	if _, ok := s.Options.MPTCP(wire.MPJoin); ok {
		t.Error("MP_JOIN found")
	}
	for name, o := range map[string]packet.Options{
		"after the end":   {0, packet.KindMSS, 4, 5, 180},
		"without length":  {1, packet.KindMSS},
		"length too low":  {packet.KindMSS, 1},
		"length too high": {packet.KindMSS, 4, 5},
		"empty MPTCP":     {wire.Kind, 2},
	} {
		if _, ok := o.Find(packet.KindMSS); ok {
			t.Errorf("%s: found", name)
		}
		if _, ok := o.MPTCP(wire.MPCapable); ok {
			t.Errorf("%s: MPTCP found", name)
		}
	}
	if syn, synack := samples()[0], samples()[1]; !syn.IsSYN() || syn.IsSYNACK() || synack.IsSYN() || !synack.IsSYNACK() {
		t.Error("SYN and SYN-ACK are not told apart")
	}
}

// FuzzReader reads anything as a capture: segments are within it, and encoded
// again they read the same.
func FuzzReader(f *testing.F) {
	f.Add(packettest.Pcap(f, samples()...))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(packettest.Pcap(f, samples()[:1]...))
	z.Close()
	f.Add(zipped.Bytes())
	f.Add(interfaces(f))
	data := packettest.IP(samples()[2])
	for _, o := range orders {
		f.Add(slices.Concat(o.section(), o.interfaceOf(50, o.resolution(0x80|10), o.offset(1)), o.enhanced(0, 1, data),
			o.block(obsolete, o.numbers(uint16(0), uint16(0)), o.captured(1, len(data)), data), o.block(simple, o.numbers(uint32(len(data))), data)))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := packet.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for range 1000 {
			var s packet.Segment
			if err := r.Next(&s); err != nil {
				break
			}
			if len(s.Payload) > s.Len || len(s.Options) > 40 {
				t.Fatalf("%d bytes captured of %d, %d of options", len(s.Payload), s.Len, len(s.Options))
			}
			if s.OptionsCut || s.Len > 60_000 {
				continue
			}
			s.Options, s.Payload = bytes.Clone(s.Options), bytes.Clone(s.Payload)
			again := packettest.Read(t, open(t, packettest.Pcap(t, s)))
			s.Payload = append(s.Payload, make([]byte, s.Len-len(s.Payload))...)
			if diff := cmp.Diff([]packet.Segment{s}, again, compare, cmpopts.IgnoreFields(packet.Segment{}, "Time")); diff != "" {
				t.Fatalf("changed by encoding: -first +second:\n%s", diff)
			}
		}
	})
}
