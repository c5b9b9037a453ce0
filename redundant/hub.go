// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Window is how many bytes of one direction are not acknowledged at most.
	// Both ends count on it.
	Window = 2 << 20
	// maxEnded bounds the streams that are remembered after their end.
	maxEnded = 4096
)

// Errors of streams and legs.
var (
	// ErrNoLeg ends a stream that had no leg for too long.
	ErrNoLeg = errors.New("no leg carries the stream any more")
	// ErrReset ends a stream whose peer has given it up.
	ErrReset = errors.New("peer has reset the stream")
	// ErrClosed ends a stream whose Hub was closed, and refuses others.
	ErrClosed = errors.New("redundant streams have been closed")
	// ErrLegs refuses a leg beyond Config.MaxLegs.
	ErrLegs = errors.New("stream has enough legs")
	// ErrEnded refuses a leg of a stream that has come to its end.
	ErrEnded = errors.New("stream has ended")
)

// Config bounds what streams take. The zero value of a field is its default.
type Config struct {
	Memory  int           // bytes of all streams that are buffered; 64 MiB
	MaxLegs int           // of a stream; 8
	Linger  time.Duration // how long a stream lives without a leg, and is remembered after its end; 30 s
}

// ID names a stream to both ends. Who knows it can join.
type ID [16]byte

// NewID returns one that cannot be guessed.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails: see there
	return id
}

// Key tells the streams of a Hub apart.
type Key struct {
	Scope string // a leg that came elsewhere does not find the stream
	ID    ID
}

// Hub owns streams. All its methods may be called at the same time.
type Hub struct {
	config  Config
	memory  *memory
	running sync.WaitGroup
	legs    atomic.Int64

	mu      sync.Mutex
	streams map[Key]*Stream
	ended   []ending // the oldest first
	closed  bool
}

// ending is what a leg is told that joins after the end.
type ending struct {
	key  Key
	last []byte
	at   time.Time
}

// NewHub returns a Hub without streams.
func NewHub(c Config) *Hub {
	c.Memory = cmp.Or(c.Memory, 64<<20)
	c.MaxLegs = cmp.Or(c.MaxLegs, 8)
	c.Linger = cmp.Or(c.Linger, 30*time.Second)
	return &Hub{config: c, memory: newMemory(c.Memory, chunkLen), streams: map[Key]*Stream{}}
}

// Stats are the numbers of a Hub.
type Stats struct {
	Streams int
	Legs    int
	Memory  int // bytes that are lent
}

// Stats counts what there is now.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	streams := len(h.streams)
	h.mu.Unlock()
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	return Stats{Streams: streams, Legs: int(h.legs.Load()), Memory: h.memory.lent * chunkLen}
}

// Find returns the stream of a key, or begins it: the caller that is told that
// it is new has to Start it or to Release it. The error is ErrEnded, with the
// bytes to send in answer before the leg is closed, or ErrClosed.
func (h *Hub) Find(key Key) (s *Stream, isNew bool, last []byte, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, nil, ErrClosed
	}
	if s := h.streams[key]; s != nil {
		return s, false, nil, nil
	}
	h.forget(time.Now())
	for _, e := range h.ended {
		if e.key == key {
			return nil, false, e.last, ErrEnded
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s = &Stream{
		hub: h, key: key, context: ctx, cancel: cancel,
		out: newSender(Window, h.memory), in: newReceiver(Window, h.memory),
		deliver: make(chan struct{}, 1), released: make(chan struct{}),
	}
	h.streams[key] = s
	return s, true, nil, nil
}

// forget drops endings that are old, or too many.
func (h *Hub) forget(now time.Time) {
	n := max(len(h.ended)-maxEnded, 0)
	for n < len(h.ended) && now.Sub(h.ended[n].at) >= h.config.Linger {
		n++
	}
	h.ended = append(h.ended[:0], h.ended[n:]...)
}

// remove forgets a stream but for its last words.
func (h *Hub) remove(s *Stream, last []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s.key)
	if last != nil {
		h.ended = append(h.ended, ending{s.key, last, time.Now()})
		h.forget(time.Now())
	}
}

// Close ends all streams with ErrClosed and waits until their local ends are
// released and their legs are gone, which takes a moment for those that get
// nothing through.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	var all []*Stream
	for _, s := range h.streams {
		all = append(all, s)
	}
	h.mu.Unlock()
	for _, s := range all {
		s.hurry()
	}
	h.running.Wait()
}

// fileOf takes over a descriptor, which must not block.
func fileOf(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
