// SPDX-License-Identifier: Apache-2.0

package redundant

import "fmt"

// Sender holds what of a stream is not acknowledged. It is not safe for
// concurrent use.
type Sender struct {
	ring  []byte
	base  uint64 // everything before it is acknowledged
	end   uint64 // of what was written
	ended bool
}

// NewSender returns a Sender that holds at most window bytes, at least 1.
func NewSender(window int) *Sender { return &Sender{ring: make([]byte, max(window, 1))} }

// Write takes as much of b as the window has room for.
func (s *Sender) Write(b []byte) int {
	b = b[:min(len(b), len(s.ring)-int(s.end-s.base))]
	n := copy(s.ring[s.end%uint64(len(s.ring)):], b)
	copy(s.ring, b[n:])
	s.end += uint64(len(b))
	return len(b)
}

// End says that nothing more will be written.
func (s *Sender) End() { s.ended = true }

// Next returns the frame that a leg whose place is at has to send, and its
// data, which is valid until the next Write. The leg's place is then h.Offset +
// h.Length. ok is false when there is nothing to send. A Fin is returned at
// every call from the end on: a leg sends it once.
func (s *Sender) Next(at uint64) (h Header, data []byte, ok bool) {
	at = max(at, s.base)
	if at >= s.end {
		return Header{Kind: Fin, Offset: s.end}, nil, s.ended
	}
	i := at % uint64(len(s.ring))
	n := min(s.end-at, uint64(len(s.ring))-i, MaxData)
	return Header{Kind: Data, Length: int(n), Offset: at}, s.ring[i : i+n], true
}

// Acknowledge takes the Offset of an Ack, from any leg. An older one changes
// nothing; one of what was never written is ErrFrame.
func (s *Sender) Acknowledge(offset uint64) error {
	if offset > s.end {
		return fmt.Errorf("%w: acknowledges %d of %d", ErrFrame, offset, s.end)
	}
	s.base = max(s.base, offset)
	return nil
}

// Buffered is how many bytes are held.
func (s *Sender) Buffered() int { return int(s.end - s.base) }

// Receiver drops what it has had. It is not safe for concurrent use.
type Receiver struct {
	next  uint64
	fin   uint64
	ended bool
}

// Take returns the part of data that is new; the caller delivers all of it
// before it sends an Ack of Next. A gap, or data that contradicts the end of the
// stream, is ErrFrame: the leg is to be closed.
func (r *Receiver) Take(h Header, data []byte) ([]byte, error) {
	end := h.Offset + uint64(len(data))
	switch {
	case h.Offset > r.next:
		return nil, fmt.Errorf("%w: gap from %d to %d", ErrFrame, r.next, h.Offset)
	case r.ended && end > r.fin:
		return nil, fmt.Errorf("%w: data after the end", ErrFrame)
	case h.Kind == Fin && (h.Offset != r.next && !r.ended || r.ended && h.Offset != r.fin):
		return nil, fmt.Errorf("%w: ends at %d after %d", ErrFrame, h.Offset, r.next)
	case h.Kind == Fin:
		r.fin, r.ended = h.Offset, true
		return nil, nil
	case end <= r.next:
		return nil, nil
	}
	data = data[r.next-h.Offset:]
	r.next = end
	return data, nil
}

// Next is the offset to acknowledge.
func (r *Receiver) Next() uint64 { return r.next }

// Ended reports whether the whole stream has arrived.
func (r *Receiver) Ended() bool { return r.ended && r.next == r.fin }
