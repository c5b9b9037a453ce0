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

// newPcapng reads the first section header.
func newPcapng(r *bufio.Reader) (*pcapngFile, error) {
	p := &pcapngFile{input: input{r: r}, order: binary.LittleEndian}
	kind, err := p.block(nil)
	if err == nil && kind != ngSection {
		err = fmt.Errorf("%w: no section header", ErrFormat)
	}
	return p, err
}

func (p *pcapngFile) next(f *frame) error {
	for {
		f.data = nil
		if _, err := p.block(f); err != nil || f.data != nil {
			return err
		}
	}
}

// block reads a block, and into f what packet is in it.
func (p *pcapngFile) block(f *frame) (kind uint32, err error) {
	if _, err := io.ReadFull(p.r, p.header[:]); err != nil {
		return 0, err
	}
	kind = p.order.Uint32(p.header[:])
	if kind == ngSection {
		magic, err := p.r.Peek(4)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		switch uint32(ngByteOrder) {
		case binary.LittleEndian.Uint32(magic):
			p.order = binary.LittleEndian
		case binary.BigEndian.Uint32(magic):
			p.order = binary.BigEndian
		default:
			return 0, fmt.Errorf("%w: byte order %#x of a section", ErrFormat, magic)
		}
		p.interfaces = p.interfaces[:0]
	}
	length := p.order.Uint32(p.header[4:])
	if length < ngFrameLen || length%4 != 0 {
		return 0, fmt.Errorf("%w: block of %d bytes", ErrFormat, length)
	}
	switch kind {
	case ngInterface, ngPacket, ngSimple, ngEnhanced:
	default:
		n, err := p.r.Discard(int(length - uint32(len(p.header))))
		if err == io.EOF && n < int(length) {
			err = io.ErrUnexpectedEOF
		}
		return kind, err
	}
	if length > maxFrame {
		return 0, fmt.Errorf("%w: block of %d bytes", ErrFormat, length)
	}
	b, err := p.take(int(length) - len(p.header))
	if err != nil {
		return 0, err
	}
	return kind, p.read(f, kind, b[:len(b)-4])
}

// read reads the body of a block.
func (p *pcapngFile) read(f *frame, kind uint32, b []byte) error {
	short := func() error { return fmt.Errorf("%w: block of type %d with only %d bytes", ErrFormat, kind, len(b)) }
	var number, captured uint32
	var at int
	switch kind {
	case ngInterface:
		if len(b) < 8 {
			return short()
		}
		return p.describe(b)
	case ngSimple:
		if at = 4; len(b) < at {
			return short()
		}
		f.length = int(p.order.Uint32(b))
		captured = uint32(min(f.length, len(b)-at))
	default:
		if at = 20; len(b) < at {
			return short()
		}
		number, captured, f.length = p.order.Uint32(b), p.order.Uint32(b[12:]), int(p.order.Uint32(b[16:]))
		if kind == ngPacket {
			number = uint32(p.order.Uint16(b))
		}
	}
	if number >= uint32(len(p.interfaces)) {
		return fmt.Errorf("%w: packet of interface %d, which is not described", ErrFormat, number)
	}
	i := &p.interfaces[number]
	f.link, f.time = i.link, time.Time{}
	switch {
	case kind != ngSimple:
		f.time = i.time(uint64(p.order.Uint32(b[4:]))<<32 | uint64(p.order.Uint32(b[8:])))
	case i.snap > 0:
		captured = min(captured, i.snap)
	}
	if captured > uint32(len(b)-at) {
		return fmt.Errorf("%w: %d bytes captured in a block that has %d", ErrFormat, captured, len(b)-at)
	}
	f.data = b[at : at+int(captured)]
	return nil
}

// describe reads the description of an interface.
func (p *pcapngFile) describe(b []byte) error {
	i := ngInterfaceInfo{link: p.order.Uint16(b), snap: p.order.Uint32(b[4:]), units: 1e6}
	for o := b[8:]; len(o) >= 4; {
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
				return fmt.Errorf("%w: resolution %#x of timestamps", ErrFormat, o[0])
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
