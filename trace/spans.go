// SPDX-License-Identifier: Apache-2.0

package trace

import "slices"

// maxSpans bounds how many parts of a stream with holes between them are known
// at once. Beyond that the first hole counts as never to be filled.
const maxSpans = 256

// span is a part of a stream, from its first byte to before its last.
type span struct{ start, end uint64 }

// spans are the parts of a stream that were seen, which is one as long as
// nothing is lost or out of order.
type spans struct {
	list []span // in order, with holes between them
	seen uint64 // bytes
}

// end is the place behind the last byte that was seen.
func (s *spans) end() uint64 {
	if len(s.list) == 0 {
		return 0
	}
	return s.list[len(s.list)-1].end
}

// missing is the number of bytes before the end that were not seen.
func (s *spans) missing() uint64 { return s.end() - s.seen }

// add adds a part and calls fresh with those parts of it that were not there.
func (s *spans) add(start, end uint64, fresh func(start, end uint64)) {
	if start >= end {
		return
	}
	last := len(s.list) - 1
	if last >= 0 && s.list[last].end == start { // by far the most frequent
		s.list[last].end = end
		s.seen += end - start
		fresh(start, end)
		return
	}
	// From i on are those that touch what is added, up to before j.
	i := last + 1
	for i > 0 && s.list[i-1].end >= start {
		i--
	}
	j, at, whole := i, start, span{start, end}
	for ; j < len(s.list) && s.list[j].start <= end; j++ {
		if at < s.list[j].start {
			s.seen += s.list[j].start - at
			fresh(at, s.list[j].start)
		}
		at = max(at, s.list[j].end)
		whole.start = min(whole.start, s.list[j].start)
		whole.end = max(whole.end, s.list[j].end)
	}
	if at < end {
		s.seen += end - at
		fresh(at, end)
	}
	s.list = slices.Replace(s.list, i, j, whole)
	if len(s.list) > maxSpans {
		s.list[1].start = s.list[0].start
		s.list = slices.Delete(s.list, 0, 1)
	}
}
