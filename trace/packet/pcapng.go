// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"
)

// Of files in the format pcapng (draft-ietf-opsawg-pcapng).
const (
	ngSection   = 0x0a0d0d0a // the same in both byte orders
	ngInterface = 1
	ngPacket    = 2 // obsolete
	ngSimple    = 3
	ngEnhanced  = 6

	ngByteOrder = 0x1a2b3c4d
	ngFrameLen  = 12 // type and both lengths of a block

	ngResolution = 9  // option if_tsresol
	ngOffset     = 14 // option if_tsoffset
)

// pcapngFile reads a file of the format pcapng.
type pcapngFile struct {
	input
	order      binary.ByteOrder
	interfaces []ngInterfaceInfo
	header     [8]byte
}

// ngInterfaceInfo is what packets of an interface have in common.
type ngInterfaceInfo struct {
	link   uint16
	snap   uint32
	units  uint64 // in a second
	offset int64  // seconds
}

// newPcapng reads the section header with which a file begins.
func newPcapng(r *bufio.Reader) (*pcapngFile, error) {
	p := &pcapngFile{input: input{r: r}, order: binary.LittleEndian}
	return p, p.block(nil)
}

func (p *pcapngFile) next(f *frame) error {
	for {
		f.data = nil
		if err := p.block(f); err != nil || f.data != nil {
			return err
		}
	}
}

// block reads a block, and into f what packet is in it.
func (p *pcapngFile) block(f *frame) error {
	if _, err := io.ReadFull(p.r, p.header[:]); err != nil {
		return err
	}
	kind := p.order.Uint32(p.header[:])
	if kind == ngSection {
		magic, err := p.r.Peek(4)
		if err != nil {
			return within(err)
		}
		switch uint32(ngByteOrder) {
		case binary.LittleEndian.Uint32(magic):
			p.order = binary.LittleEndian
		case binary.BigEndian.Uint32(magic):
			p.order = binary.BigEndian
		default:
			return fmt.Errorf("byte order %#x of a section", magic)
		}
		p.interfaces = p.interfaces[:0]
	}
	var about int // bytes of a body before options or data
	switch kind {
	case ngInterface:
		about = 8
	case ngSimple:
		about = 4
	case ngPacket, ngEnhanced:
		about = 20
	}
	length := p.order.Uint32(p.header[4:])
	if length%4 != 0 || length < ngFrameLen+uint32(about) || about > 0 && length > maxFrame {
		return fmt.Errorf("block of type %#x with %d bytes", kind, length)
	}
	left := int(length) - len(p.header)
	if about == 0 {
		_, err := p.r.Discard(left)
		return within(err)
	}
	b, err := p.take(left)
	if err != nil {
		return err
	}
	rest := b[about : left-4] // then comes the length again
	if kind == ngInterface {
		return p.describe(b[:about], rest)
	}
	return p.packet(f, kind, b[:about], rest)
}

// packet reads a packet: what is told about it, and its bytes, which options
// follow.
func (p *pcapngFile) packet(f *frame, kind uint32, about, data []byte) error {
	number := uint32(0)
	switch kind {
	case ngEnhanced:
		number = p.order.Uint32(about)
	case ngPacket:
		number = uint32(p.order.Uint16(about))
	}
	if number >= uint32(len(p.interfaces)) {
		return fmt.Errorf("packet of interface %d, which is not described", number)
	}
	i := &p.interfaces[number]
	f.link = i.link
	var captured uint32
	if kind == ngSimple {
		f.time, f.length = time.Time{}, int(p.order.Uint32(about))
		captured = uint32(min(f.length, len(data)))
		if i.snap > 0 {
			captured = min(captured, i.snap)
		}
	} else {
		f.time = i.time(uint64(p.order.Uint32(about[4:]))<<32 | uint64(p.order.Uint32(about[8:])))
		captured, f.length = p.order.Uint32(about[12:]), int(p.order.Uint32(about[16:]))
	}
	if captured > uint32(len(data)) {
		return fmt.Errorf("%d bytes captured in a block that has %d", captured, len(data))
	}
	f.data = data[:captured]
	return nil
}

// describe reads the description of an interface.
func (p *pcapngFile) describe(about, options []byte) error {
	i := ngInterfaceInfo{link: p.order.Uint16(about), snap: p.order.Uint32(about[4:]), units: 1e6}
	for o := options; len(o) >= 4; {
		kind, n := p.order.Uint16(o), int(p.order.Uint16(o[2:]))
		if o = o[4:]; kind == 0 || n > len(o) {
			break
		}
		switch {
		case kind == ngResolution && n == 1:
			power := o[0] & 0x7f
			switch {
			case o[0] != power && power < 64:
				i.units = 1 << power
			case o[0] == power && power < 20:
				i.units = uint64(math.Pow10(int(power)))
			default:
				return fmt.Errorf("resolution %#x of timestamps", o[0])
			}
		case kind == ngOffset && n == 8:
			i.offset = int64(p.order.Uint64(o))
		}
		o = o[min((n+3)&^3, len(o)):]
	}
	p.interfaces = append(p.interfaces, i)
	return nil
}

// time is that of a timestamp.
func (i *ngInterfaceInfo) time(stamp uint64) time.Time {
	high, low := bits.Mul64(stamp%i.units, uint64(time.Second))
	fraction, _ := bits.Div64(high, low, i.units)
	return time.Unix(int64(stamp/i.units)+i.offset, int64(fraction)).UTC()
}
