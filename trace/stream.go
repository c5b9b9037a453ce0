// SPDX-License-Identifier: Apache-2.0

package trace

import "slices"

// Bounds of what is kept of mappings.
const (
	maxMappings = 8
	maxUnmapped = 8
	// maxAhead is how far beyond what was seen a mapping may lead, in bytes: more
	// than any window. What leads further is damaged.
	maxAhead = 1 << 32
)

// mapping leads from places of a subflow's stream to places of the connection's.
type mapping struct {
	span        // of the subflow
	data uint64 // place of its first byte in the connection
}

// half is one direction of a subflow. Places count from its first byte of data.
type half struct {
	first    uint32 // sequence number of that byte
	known    bool   // it is
	finished bool   // by a FIN
	// offset is the place of the byte that mappings call 1: what a SYN carries is
	// not mapped (RFC 8684, appendix B).
	offset uint64
	seen   spans
	probe  probe
	// sent are bytes of payload, each time they were seen; late those of them
	// that were seen for the first time, but after later ones; reinjected those
	// whose data other segments had carried before; unmapped those without
	// mapping.
	sent, late, reinjected, unmapped uint64

	mappings []mapping // the latest
	waiting  []span    // bytes whose mapping may still come
}

// place is where a sequence number is in the stream, the nearest to what was
// seen.
func (h *half) place(seq uint32) (uint64, bool) {
	end := h.seen.end()
	at := int64(end) + int64(int32(seq-h.first-uint32(end)))
	return uint64(at), at >= 0
}

// remember keeps a mapping for bytes that come later.
func (h *half) remember(m mapping) {
	if slices.Contains(h.mappings, m) {
		return
	}
	if len(h.mappings) == maxMappings {
		h.mappings = slices.Delete(h.mappings, 0, 1)
	}
	h.mappings = append(h.mappings, m)
}

// mapped calls carry for the parts of a span of the subflow that mappings lead
// to the connection, and left for the others.
func (h *half) mapped(s span, now mapping, carry func(data span), left func(s span)) {
	for s.start < s.end {
		m, found := h.lookUp(s.start, now)
		if !found {
			next := s.end
			if now.start > s.start {
				next = min(next, now.start)
			}
			for i := range h.mappings {
				if at := h.mappings[i].start; at > s.start {
					next = min(next, at)
				}
			}
			left(span{s.start, next})
			s.start = next
			continue
		}
		end := min(s.end, m.end)
		carry(span{m.data + s.start - m.start, m.data + end - m.start})
		s.start = end
	}
}

// lookUp finds the mapping of a byte, the latest if there are several.
func (h *half) lookUp(at uint64, now mapping) (m mapping, found bool) {
	if now.start <= at && at < now.end {
		return now, true
	}
	for i := len(h.mappings) - 1; i >= 0; i-- {
		if m := h.mappings[i]; m.start <= at && at < m.end {
			return m, true
		}
	}
	return mapping{}, false
}

// wait keeps bytes whose mapping may still come.
func (h *half) wait(s span) {
	if len(h.waiting) == maxUnmapped {
		h.unmapped += h.waiting[0].end - h.waiting[0].start
		h.waiting = slices.Delete(h.waiting, 0, 1)
	}
	h.waiting = append(h.waiting, s)
}

// data is one direction of a connection. Places count from its first byte.
type data struct {
	key     uint64
	known   bool // the key is
	first   uint64
	seen    spans
	probe   probe
	early   uint64 // bytes that a SYN carried, which no mapping tells
	plain   uint64 // bytes without mapping, after fallback to TCP
	fin     bool
	finAt   uint64 // place behind the last byte
	mapped  bool   // there was a mapping
	strange uint64 // mappings that lead nowhere near
}

// place is where a data sequence number is in the stream, the nearest to what
// was seen if only its lower half is there.
func (d *data) place(dsn uint64, long bool) (uint64, bool) {
	if !d.known {
		return 0, false
	}
	end := d.seen.end()
	at := int64(dsn - d.first)
	if !long {
		at = int64(end) + int64(int32(uint32(dsn)-uint32(d.first)-uint32(end)))
	}
	if at < 0 || uint64(at) > end+maxAhead {
		return 0, false
	}
	return uint64(at), true
}

// bytes are those of the stream that were seen.
func (d *data) bytes() uint64 { return d.seen.seen + d.early + d.plain }

// missing are those before its end, as far as that is known, that were not.
func (d *data) missing() uint64 {
	if d.fin && d.plain == 0 && d.finAt > d.seen.end() {
		return d.finAt - d.seen.seen
	}
	return d.seen.missing()
}
