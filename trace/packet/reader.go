// SPDX-License-Identifier: Apache-2.0

package packet

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// ErrFormat reports what is not a capture that can be read.
var ErrFormat = errors.New("not a capture of packets that can be read")

const magicLen = 4 // what tells formats apart

// bufferSize is how much is read at once.
const bufferSize = 64 << 10

// Reader reads the TCP segments of a capture in their order.
type Reader struct {
	packets source
	frame   frame
	stats   Stats
}

// Stats tell what a [Reader] has read so far.
type Stats struct {
	Packets  uint64 `json:"packets"`
	Bytes    uint64 `json:"bytes"` // as long as packets were on the wire
	Segments uint64 `json:"segments"`
	// OptionsCut are segments whose options were not captured whole: the
	// snapshot length of the capture was too short.
	OptionsCut uint64 `json:"options_cut,omitempty"`
	// Unread are packets of interfaces whose link type cannot be read.
	Unread uint64 `json:"unread,omitempty"`
	// Truncated tells that the capture ends within a packet.
	Truncated bool      `json:"truncated,omitempty"`
	First     time.Time `json:"first,omitzero"` // packet
	Last      time.Time `json:"last,omitzero"`
}

// NewReader begins to read a capture: pcap or pcapng, also compressed with gzip.
// It wraps [ErrFormat] for anything else.
func NewReader(r io.Reader) (*Reader, error) {
	buffered := bufio.NewReaderSize(r, bufferSize)
	head, err := buffered.Peek(magicLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		plain, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
		buffered = bufio.NewReaderSize(plain, bufferSize)
		if head, err = buffered.Peek(magicLen); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
	}
	if bytes.Equal(head, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		packets, err := newPcapng(buffered)
		if err != nil {
			return nil, fmt.Errorf("%w: pcapng: %w", ErrFormat, err)
		}
		return &Reader{packets: packets}, nil
	}
	packets, err := newPcap(buffered)
	if err != nil {
		return nil, fmt.Errorf("%w: pcap: %w", ErrFormat, err)
	}
	if linkTypes[packets.link] == nil {
		return nil, fmt.Errorf("%w: link type %d", ErrFormat, packets.link)
	}
	return &Reader{packets: packets}, nil
}

// Next reads the next TCP segment into s, whose options and payload are valid
// until the next call. The error is io.EOF at the end. A capture may end within
// a packet, since whoever writes it can be stopped at any time.
func (r *Reader) Next(s *Segment) error {
	for {
		f := &r.frame
		err := r.packets.next(f)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			r.stats.Truncated = true
			return io.EOF
		}
		if err != nil {
			if err == io.EOF {
				return err
			}
			return fmt.Errorf("packet %d: %w", r.stats.Packets+1, err)
		}
		r.note(f)
		link := linkTypes[f.link]
		if link == nil {
			r.stats.Unread++
			continue
		}
		packet := link(f.data)
		if !decode(s, packet, f.length-(len(f.data)-len(packet))) {
			continue
		}
		s.Time = f.time
		r.stats.Segments++
		if s.OptionsCut {
			r.stats.OptionsCut++
		}
		return nil
	}
}

// Rest reads all segments that are left. They are not valid until the next call
// only.
func (r *Reader) Rest() ([]Segment, error) {
	var all []Segment
	for {
		var s Segment
		if err := r.Next(&s); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		s.Options, s.Payload = slices.Clone(s.Options), slices.Clone(s.Payload)
		all = append(all, s)
	}
}

// note counts a packet.
func (r *Reader) note(f *frame) {
	if r.stats.Packets == 0 {
		r.stats.First = f.time
	}
	r.stats.Packets++
	r.stats.Bytes += uint64(f.length)
	r.stats.Last = f.time
}

// Stats tell what was read so far.
func (r *Reader) Stats() Stats { return r.stats }
