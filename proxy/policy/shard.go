// SPDX-License-Identifier: Apache-2.0

package policy

import "sync"

// none is the index of no source.
const none int32 = -1

// A source is what is known of one prefix. Sources live in a slice and point at
// each other by index, so that the garbage collector has nothing to follow.
type source struct {
	key     key
	due     int64 // when the next connection is due at the long-run rate (GCRA)
	conns   int32
	pending int32
	// Neighbours in the list of sources without connections, which is in the
	// order in which they lost their last one. next also links free places.
	prev, next int32
}

// A shard is a part of the source prefixes under one lock.
type shard struct {
	mu      sync.Mutex
	index   map[key]int32
	sources []source
	free    int32 // first free place
	oldest  int32 // ends of the list of sources without connections
	newest  int32
	_       [24]byte // keeps the lock of the next shard off this one's cache line
}

func (s *shard) init() {
	s.index = make(map[key]int32)
	s.free, s.oldest, s.newest = none, none, none
}

func (s *shard) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index)
}

func (s *shard) admit(k key, now int64, lim *limits) (int32, Reason, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Each arrival makes room for up to two, so that the forgotten outrun the new.
	for range 2 {
		if s.oldest == none || s.sources[s.oldest].due > now {
			break
		}
		s.forget(s.oldest)
	}
	i, known := s.index[k]
	if !known {
		if i = s.add(k, now, lim); i == none {
			return none, Prefixes, false
		}
	}
	src := &s.sources[i]
	if reason, ok := src.fits(now, lim); !ok {
		return none, reason, false
	}
	if lim.interval > 0 {
		src.due = max(src.due, now) + lim.interval
	}
	if src.conns == 0 {
		s.unlink(i)
	}
	src.conns++
	src.pending++
	return i, 0, true
}

// fits reports whether a source may have another connection, or why not.
func (src *source) fits(now int64, lim *limits) (Reason, bool) {
	switch {
	case lim.PerSource > 0 && int(src.conns) >= lim.PerSource:
		return PerSource, false
	case lim.Pending > 0 && int(src.pending) >= lim.Pending:
		return Pending, false
	case lim.interval > 0 && max(src.due, now)-now > lim.ahead:
		return Rate, false
	}
	return 0, true
}

// would says what admit would, and changes nothing.
func (s *shard) would(k key, now int64, lim *limits) (conns, pending int, reason Reason, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, known := s.index[k]; known {
		src := &s.sources[i]
		reason, ok = src.fits(now, lim)
		return int(src.conns), int(src.pending), reason, ok
	}
	full := len(s.index) >= max(1, lim.MaxPrefixes/shards) && s.oldest == none
	return 0, 0, Prefixes, !full
}

// add makes a source without connections, or returns none if there is no place.
// A new source is never refused, so it does not stay on that list.
func (s *shard) add(k key, now int64, lim *limits) int32 {
	if len(s.index) >= max(1, lim.MaxPrefixes/shards) {
		if s.oldest == none {
			return none
		}
		s.forget(s.oldest)
	}
	i := s.free
	if i == none {
		i = int32(len(s.sources))
		s.sources = append(s.sources, source{})
	} else {
		s.free = s.sources[i].next
	}
	s.sources[i] = source{key: k, due: now}
	s.index[k] = i
	s.link(i)
	return i
}

func (s *shard) establish(i int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources[i].pending--
}

func (s *shard) release(i int32, pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := &s.sources[i]
	if pending {
		src.pending--
	}
	if src.conns--; src.conns == 0 {
		s.link(i)
	}
}

// link puts a source at the newest end of the list.
func (s *shard) link(i int32) {
	src := &s.sources[i]
	src.prev, src.next = s.newest, none
	if s.newest == none {
		s.oldest = i
	} else {
		s.sources[s.newest].next = i
	}
	s.newest = i
}

func (s *shard) unlink(i int32) {
	src := &s.sources[i]
	if src.prev == none {
		s.oldest = src.next
	} else {
		s.sources[src.prev].next = src.next
	}
	if src.next == none {
		s.newest = src.prev
	} else {
		s.sources[src.next].prev = src.prev
	}
}

// forget drops a source without connections.
func (s *shard) forget(i int32) {
	s.unlink(i)
	delete(s.index, s.sources[i].key)
	s.sources[i].next, s.free = s.free, i
}
