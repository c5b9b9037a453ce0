// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The libraries that read captures bring tables of megabytes along, which the
// garbage collector would look through in gateways, too.

// maxFrame is the most that is taken for a captured packet, in bytes: libpcap
// captures 256 KiB at most.
const maxFrame = 1 << 20

// frame is a packet as it was captured.
type frame struct {
	time   time.Time
	link   uint16 // link type, of the registry of LINKTYPE_ values
	data   []byte // valid until the next one is read
	length int    // on the wire, bytes
}

// source reads frames. The error is io.EOF at the end, and io.ErrUnexpectedEOF
// if that is within a frame.
type source interface {
	next(f *frame) error
}

// input reads what has a known length.
type input struct {
	r   *bufio.Reader
	buf []byte
}

// take reads n bytes, which are valid until it is called again, and which are
// not the first ones of something.
func (in *input) take(n int) ([]byte, error) {
	if cap(in.buf) < n {
		in.buf = make([]byte, n)
	}
	_, err := io.ReadFull(in.r, in.buf[:n])
	return in.buf[:n], within(err)
}

// within is the error of reading what is not the first of something.
func within(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Of files in the format pcap (draft-ietf-opsawg-pcap).
const (
	pcapMicroseconds = 0xa1b2c3d4
	pcapNanoseconds  = 0xa1b23c4d
	pcapHeaderLen    = 24
	pcapRecordLen    = 16
)

// pcapFile reads a file of the format pcap.
type pcapFile struct {
	input
	order  binary.ByteOrder
	unit   time.Duration // of fractions of a second
	link   uint16
	header [pcapRecordLen]byte
}

func newPcap(r *bufio.Reader) (*pcapFile, error) {
	p := &pcapFile{input: input{r: r}}
	b, err := p.take(pcapHeaderLen)
	if err != nil {
		return nil, err
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(b) {
		case pcapMicroseconds:
			p.order, p.unit = order, time.Microsecond
		case pcapNanoseconds:
			p.order, p.unit = order, time.Nanosecond
		}
	}
	if p.order == nil {
		return nil, fmt.Errorf("unknown magic number %#x", b[:magicLen])
	}
	if major := p.order.Uint16(b[4:]); major != 2 {
		return nil, fmt.Errorf("version %d, only 2 is known", major)
	}
	p.link = uint16(p.order.Uint32(b[20:])) // above are lengths of checksums
	return p, nil
}

func (p *pcapFile) next(f *frame) error {
	h := p.header[:]
	if _, err := io.ReadFull(p.r, h); err != nil {
		return err
	}
	captured := p.order.Uint32(h[8:])
	if captured > maxFrame {
		return fmt.Errorf("%d bytes captured of one packet", captured)
	}
	f.time = time.Unix(int64(p.order.Uint32(h)), int64(p.order.Uint32(h[4:]))*int64(p.unit)).UTC()
	f.link, f.length = p.link, int(p.order.Uint32(h[12:]))
	var err error
	f.data, err = p.take(int(captured))
	return err
}
