// SPDX-License-Identifier: Apache-2.0

package packet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/packet/packettest"
)

// Link types of frames, and the kinds of blocks in pcapng files.
const (
	rawIP     = 101
	section   = 0x0a0d0d0a
	described = 1
	obsolete  = 2
	simple    = 3
	enhanced  = 6
)

// order writes numbers of files: what the library does not write, too.
type order struct{ binary.ByteOrder }

var orders = []order{{binary.LittleEndian}, {binary.BigEndian}}

// numbers are numbers in as many bytes as their types take.
func (o order) numbers(all ...any) (b []byte) {
	for _, n := range all {
		b, _ = binary.Append(b, o.ByteOrder, n)
	}
	return b
}

func padded(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// block is a block of a pcapng file.
func (o order) block(kind uint32, body ...[]byte) []byte {
	b := padded(slices.Concat(body...))
	length := uint32(12 + len(b))
	return slices.Concat(o.numbers(kind, length), b, o.numbers(length))
}

func (o order) section() []byte {
	return o.block(section, o.numbers(uint32(0x1a2b3c4d), uint16(1), uint16(0), int64(-1)))
}

// interfaceOf describes an interface of raw IP packets.
func (o order) interfaceOf(snap uint32, options ...[]byte) []byte {
	return o.block(described, o.numbers(uint16(rawIP), uint16(0), snap), slices.Concat(options...))
}

func (o order) option(kind uint16, value []byte) []byte {
	return padded(append(o.numbers(kind, uint16(len(value))), value...))
}

// resolution is option if_tsresol, offset is if_tsoffset.
func (o order) resolution(r byte) []byte    { return o.option(9, []byte{r}) }
func (o order) offset(seconds int64) []byte { return o.option(14, o.numbers(seconds)) }

// enhanced is a packet of an interface at a time.
func (o order) enhanced(number uint32, stamp uint64, data []byte) []byte {
	return o.block(enhanced, o.numbers(number), o.captured(stamp, len(data)), data)
}

// captured is what blocks tell of a packet.
func (o order) captured(stamp uint64, n int) []byte {
	return o.numbers(uint32(stamp>>32), uint32(stamp), uint32(n), uint32(n))
}

// at is a segment that was captured at a time, or several times.
func at(times ...time.Time) (all []packet.Segment) {
	for _, t := range times {
		s := samples()[2]
		s.Time = t
		all = append(all, s)
	}
	return all
}

func TestPcapng(t *testing.T) {
	data := packettest.IP(samples()[2])
	micros := uint64(start.UnixMicro())
	short, half := start.Truncate(time.Microsecond), time.Unix(1, 5e8).UTC()
	cut := at(time.Time{})
	cut[0].Payload = cut[0].Payload[:1]
	for name, tt := range map[string]struct {
		blocks func(o order) [][]byte // after the header of a section
		want   []packet.Segment
	}{
		"microseconds": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0), o.enhanced(0, micros, data)}
		}, at(short)},
		"nanoseconds": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.resolution(9)), o.enhanced(0, uint64(start.UnixNano()), data)}
		}, at(start)},
		"seconds": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.resolution(0)), o.enhanced(0, 1<<33, data)}
		}, at(time.Unix(1<<33, 0).UTC())},
		"finest of ten": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.resolution(19)), o.enhanced(0, 15e18, data)}
		}, at(half)},
		"seconds of two": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.resolution(0x80)), o.enhanced(0, 7, data)}
		}, at(time.Unix(7, 0).UTC())},
		"2^-10 s": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.resolution(0x80|10)), o.enhanced(0, 1<<10|1<<9, data)}
		}, at(half)},
		"finest of two": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.resolution(0x80|63)), o.enhanced(0, 3<<62, data)}
		}, at(half)},
		"later": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.offset(100)), o.enhanced(0, micros, data)}
		}, at(short.Add(100 * time.Second))},
		"earlier, among other options": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.option(2, []byte("eth0!")), o.resolution(9), o.offset(-100)), o.enhanced(0, uint64(start.UnixNano()), data)}
		}, at(start.Add(-100 * time.Second))},
		"after the end of options": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.option(0, nil), o.resolution(9)), o.enhanced(0, micros, data)}
		}, at(short)},
		"option beyond the block": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.numbers(uint16(9), uint16(5), uint32(0))), o.enhanced(0, micros, data)}
		}, at(short)},
		"options of other lengths": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0, o.option(9, []byte{9, 9}), o.option(14, []byte{1})), o.enhanced(0, micros, data)}
		}, at(short)},
		"two interfaces": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0), o.interfaceOf(0, o.resolution(9)), o.enhanced(1, uint64(start.UnixNano()), data), o.enhanced(0, micros, data)}
		}, at(start, short)},
		"obsolete block": {func(o order) [][]byte {
			lost := uint16(3)
			return [][]byte{o.interfaceOf(0), o.interfaceOf(0), o.block(obsolete, o.numbers(uint16(1), lost), o.captured(micros, len(data)), data)}
		}, at(short)},
		"simple block": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0), o.block(simple, o.numbers(uint32(len(data))), data)}
		}, at(time.Time{})},
		"simple block, cut": {func(o order) [][]byte {
			snap := len(data) - 3
			return [][]byte{o.interfaceOf(uint32(snap)), o.block(simple, o.numbers(uint32(len(data))), data[:snap])}
		}, cut},
		"options of a packet": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0), o.block(enhanced, o.numbers(uint32(0)), o.captured(micros, len(data)), padded(data), o.option(1, []byte("a comment")))}
		}, at(short)},
		"no bytes of a packet": {func(o order) [][]byte {
			return [][]byte{o.interfaceOf(0), o.enhanced(0, micros, nil), o.enhanced(0, micros, data)}
		}, at(short)},
		"unknown blocks": {func(o order) [][]byte {
			return [][]byte{o.block(0xbad), o.interfaceOf(0), o.block(4, make([]byte, 3<<20)), o.enhanced(0, micros, data)}
		}, at(short)},
		"sections of either order": {func(o order) [][]byte {
			all := [][]byte{o.interfaceOf(0), o.enhanced(0, micros, data)}
			for _, other := range orders {
				all = append(all, other.section(), other.interfaceOf(0, other.resolution(9)), other.enhanced(0, uint64(start.UnixNano()), data))
			}
			return all
		}, at(short, start, start)},
		"another length at the end of a block": {func(o order) [][]byte {
			lies := o.enhanced(0, micros, data)
			copy(lies[len(lies)-4:], o.numbers(uint32(7)))
			return [][]byte{o.interfaceOf(0), lies}
		}, at(short)},
	} {
		for _, o := range orders {
			r := open(t, append(o.section(), slices.Concat(tt.blocks(o)...)...))
			if diff := cmp.Diff(tt.want, packettest.Read(t, r), compare); diff != "" || r.Stats().Truncated {
				t.Errorf("%s, %s: -want +got:\n%s", name, o.ByteOrder, diff)
			}
		}
	}
}

// TestPcapngDamaged reads what comes before the damage.
func TestPcapngDamaged(t *testing.T) {
	data := packettest.IP(samples()[2])
	for name, damaged := range map[string]func(o order) []byte{
		"shorter than any block":  func(o order) []byte { return o.numbers(uint32(4), uint32(8)) },
		"no multiple of 4":        func(o order) []byte { return append(o.numbers(uint32(4), uint32(17)), make([]byte, 9)...) },
		"interface, short":        func(o order) []byte { return o.block(described, make([]byte, 4)) },
		"packet, short":           func(o order) []byte { return o.block(enhanced, make([]byte, 16)) },
		"obsolete packet, short":  func(o order) []byte { return o.block(obsolete, make([]byte, 16)) },
		"simple packet, short":    func(o order) []byte { return o.block(simple) },
		"too long":                func(o order) []byte { return o.enhanced(0, 0, make([]byte, 1<<20)) },
		"more captured than told": func(o order) []byte { return o.block(enhanced, o.numbers(uint32(0)), o.captured(0, len(data)+1), data) },
		"captured beyond limits":  func(o order) []byte { return o.block(enhanced, o.numbers(uint32(0)), o.captured(0, -1), data) },
		"no such interface":       func(o order) []byte { return o.enhanced(1, 0, data) },
		"interface of a section":  func(o order) []byte { return append(o.section(), o.enhanced(0, 0, data)...) },
		"byte order":              func(o order) []byte { return o.block(section, make([]byte, 16)) },
		"resolution of ten":       func(o order) []byte { return o.interfaceOf(0, o.resolution(20)) },
		"resolution of two":       func(o order) []byte { return o.interfaceOf(0, o.resolution(0x80|64)) },
	} {
		for _, o := range orders {
			file := slices.Concat(o.section(), o.interfaceOf(0), o.enhanced(0, 0, data), damaged(o), o.enhanced(0, 0, data))
			r := open(t, file)
			var s packet.Segment
			if err := r.Next(&s); err != nil {
				t.Errorf("%s, %s: %v before the damage", name, o.ByteOrder, err)
			}
			if err := r.Next(&s); err == nil || errors.Is(err, io.EOF) || r.Stats().Truncated {
				t.Errorf("%s, %s: %v", name, o.ByteOrder, err)
			}
		}
	}
	for _, o := range orders {
		wrong := o.block(section, make([]byte, 16))
		_, err := packet.NewReader(bytes.NewReader(wrong))
		if !errors.Is(err, packet.ErrFormat) || strings.Count(err.Error(), packet.ErrFormat.Error()) != 1 {
			t.Errorf("a file without byte order: %v", err)
		}
	}
}

// TestPcapngEnds has files end at every place.
func TestPcapngEnds(t *testing.T) {
	o := orders[0]
	header := slices.Concat(o.section(), o.interfaceOf(0))
	blocks := [][]byte{o.enhanced(0, 0, packettest.IP(samples()[2])), o.block(4, make([]byte, 8)), o.section()}
	whole := map[int]bool{0: true}
	file := slices.Concat(blocks...)
	n := 0
	for _, b := range blocks {
		n += len(b)
		whole[n] = true
	}
	for n := range len(file) + 1 {
		r := open(t, slices.Concat(header, file[:n]))
		got := packettest.Read(t, r)
		if (len(got) == 1) != (n >= len(blocks[0])) || r.Stats().Truncated == whole[n] {
			t.Errorf("after %d bytes: %d segments, %+v", n, len(got), r.Stats())
		}
	}
}

func TestPcap(t *testing.T) {
	data := packettest.IP(samples()[2])
	const link = rawIP | 1<<26 // frames end with checksums of no bytes
	for _, o := range orders {
		for magic, unit := range map[uint32]time.Duration{0xa1b2c3d4: time.Microsecond, 0xa1b23c4d: time.Nanosecond} {
			record := func(captured int) []byte {
				return o.numbers(uint32(start.Unix()), uint32(start.Nanosecond())/uint32(unit), uint32(captured), uint32(len(data)))
			}
			header := o.numbers(magic, uint16(2), uint16(4), int32(0), uint32(0), uint32(1<<18), uint32(link))
			got := packettest.Read(t, open(t, slices.Concat(header, record(len(data)), data)))
			if diff := cmp.Diff(at(start.Truncate(unit)), got, compare); diff != "" {
				t.Errorf("%s, %v: -want +got:\n%s", o.ByteOrder, unit, diff)
			}
			var s packet.Segment
			r := open(t, slices.Concat(header, record(1<<20+1), make([]byte, 1<<20+1)))
			if err := r.Next(&s); err == nil || errors.Is(err, io.EOF) || r.Stats().Truncated {
				t.Errorf("%s, %v: a packet of more than a MiB: %v", o.ByteOrder, unit, err)
			}
		}
	}
}
