// SPDX-License-Identifier: Apache-2.0

package redundant

import "fmt"

// sender holds what of a stream is not acknowledged. It is not safe for
// concurrent use.
type sender struct {
	buffer
	ended, done bool
}

func newSender(window int, m *memory) *sender {
	return &sender{buffer: buffer{memory: m, window: window}}
}

// write takes as much of b as there is room for.
func (s *sender) write(b []byte) int { return s.append(b) }

// finish says that nothing more will be written.
func (s *sender) finish() { s.ended = true }

// next returns the frame that a leg whose place is at has to send, and its
// data, which is valid until it is acknowledged. The leg's place is then
// h.Offset + h.Length. ok is false when there is nothing to send. A Fin is
// returned at every call until it is acknowledged: a leg sends it once.
func (s *sender) next(at uint64) (h Header, data []byte, ok bool) {
	at = max(at, s.base)
	if at >= s.end {
		return Header{Kind: Fin, Offset: s.end}, nil, s.ended && !s.done
	}
	data = s.from(at)
	data = data[:min(len(data), MaxData)]
	return Header{Kind: Data, Length: len(data), Offset: at}, data, true
}

// acknowledge takes the Offset of an Ack, from any leg. An older one changes
// nothing; one of what was never written is ErrFrame.
func (s *sender) acknowledge(offset uint64) error {
	if offset > s.end && (!s.ended || offset > s.end+1) {
		return fmt.Errorf("%w: acknowledges %d of %d", ErrFrame, offset, s.end)
	}
	s.done = s.done || offset > s.end
	if offset = min(offset, s.end); offset > s.base {
		s.release(offset)
	}
	return nil
}

// receiver drops what it has had and holds what is not delivered yet. It is not
// safe for concurrent use.
type receiver struct {
	buffer // its end is what comes next
	fin    uint64
	ended  bool
}

func newReceiver(window int, m *memory) *receiver {
	return &receiver{buffer: buffer{memory: m, window: window}}
}

// take looks at a Fin, or at data of a frame of which the part before h.Offset
// has been taken already. It returns how many bytes of data are dealt with,
// which is all of them unless there is no room. A gap, or what contradicts the
// end of the stream, is ErrFrame: the leg is to be closed.
func (r *receiver) take(h Header, data []byte) (int, error) {
	end := h.Offset + uint64(len(data))
	switch {
	case h.Offset > r.end:
		return 0, fmt.Errorf("%w: gap from %d to %d", ErrFrame, r.end, h.Offset)
	case r.ended && end > r.fin:
		return 0, fmt.Errorf("%w: data after the end", ErrFrame)
	case h.Kind == Fin && (h.Offset != r.end || r.ended && h.Offset != r.fin):
		return 0, fmt.Errorf("%w: ends at %d after %d", ErrFrame, h.Offset, r.end)
	case h.Kind == Fin:
		r.fin, r.ended = h.Offset, true
		return 0, nil
	case end <= r.end:
		return len(data), nil
	}
	known := int(r.end - h.Offset)
	return known + r.append(data[known:]), nil
}

// pending are bytes to deliver, as many as lie together, valid until they are
// delivered.
func (r *receiver) pending() []byte { return r.from(r.base) }

// delivered says that n bytes of pending have been.
func (r *receiver) delivered(n int) { r.release(r.base + uint64(n)) }

// finished reports whether the stream has ended and all of it is delivered.
func (r *receiver) finished() bool { return r.ended && r.base == r.fin }

// ack is the offset to acknowledge: that of the byte after the last one that
// was delivered, and one more for the end.
func (r *receiver) ack() uint64 {
	if r.finished() {
		return r.fin + 1
	}
	return r.base
}
