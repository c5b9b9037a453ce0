// SPDX-License-Identifier: Apache-2.0

package redundant

import "sync"

// chunkLen is what is lent at a time. A frame has no more than a chunk.
const chunkLen = MaxData

// memory lends chunks to the buffers of all streams, so many at most.
type memory struct {
	chunk, most int
	free        sync.Pool // of *[]byte

	mu    sync.Mutex
	lent  int
	freed chan struct{} // closed when a chunk comes back; nil: nobody waits
}

func newMemory(bytes, chunk int) *memory { return &memory{chunk: chunk, most: max(bytes/chunk, 1)} }

// lend returns a chunk to a buffer that holds some already, or nil. Nobody may
// hold more than what is left, so that there is always a chunk for streams that
// need but one (dynamic thresholds: Choudhury and Hahne, 1998).
func (m *memory) lend(held int) *[]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held >= m.most-m.lent {
		return nil
	}
	m.lent++
	if c, ok := m.free.Get().(*[]byte); ok {
		return c
	}
	c := make([]byte, m.chunk)
	return &c
}

// bytes is how much is lent.
func (m *memory) bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lent * m.chunk
}

func (m *memory) giveBack(chunks []*[]byte) {
	if len(chunks) == 0 {
		return
	}
	for _, c := range chunks {
		m.free.Put(c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lent -= len(chunks)
	if m.freed != nil {
		close(m.freed)
		m.freed = nil
	}
}

// whenFreed is closed when the next chunk comes back.
func (m *memory) whenFreed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.freed == nil {
		m.freed = make(chan struct{})
	}
	return m.freed
}

// maxKept is the room for chunks, without any, that an empty buffer keeps.
const maxKept = 4

// buffer holds the bytes of a stream from base to end, at most a window, in
// chunks. While it is empty it has none.
type buffer struct {
	memory    *memory
	window    int
	chunks    []*[]byte // the first one has base
	base, end uint64
}

// append takes as much of p as there is room for.
func (b *buffer) append(p []byte) (n int) {
	p = p[:min(len(p), b.window-int(b.end-b.base))]
	length := uint64(b.memory.chunk)
	for n < len(p) {
		i := int(b.end/length - b.base/length)
		if i == len(b.chunks) {
			c := b.memory.lend(i)
			if c == nil {
				return n
			}
			b.chunks = append(b.chunks, c)
		}
		m := copy((*b.chunks[i])[b.end%length:], p[n:])
		n += m
		b.end += uint64(m)
	}
	return n
}

// from returns bytes from offset on, as many as lie together. They are valid
// until they are released.
func (b *buffer) from(offset uint64) []byte {
	length := uint64(b.memory.chunk)
	i := offset/length - b.base/length
	if offset >= b.end {
		return nil
	}
	at := offset % length
	return (*b.chunks[i])[at:min(length, at+b.end-offset)]
}

// release forgets what is before offset.
func (b *buffer) release(offset uint64) {
	length := uint64(b.memory.chunk)
	n := int(offset/length - b.base/length)
	if offset == b.end {
		n = len(b.chunks)
	}
	b.base = offset
	b.memory.giveBack(b.chunks[:n])
	left := copy(b.chunks, b.chunks[n:])
	clear(b.chunks[left:])
	if b.chunks = b.chunks[:left]; left == 0 && cap(b.chunks) > maxKept {
		b.chunks = nil
	}
}
