// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
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
	// ErrUnknown refuses a leg of a stream that is not there, or not any more.
	ErrUnknown = errors.New("there is no such stream")
)

// EndedError refuses a leg of a stream that has ended a short while ago.
type EndedError struct {
	Instance Instance
	Last     []byte // what to send before the leg is closed
}

func (e *EndedError) Error() string { return ErrEnded.Error() }

// Unwrap returns ErrEnded.
func (e *EndedError) Unwrap() error { return ErrEnded }

// Config bounds what streams take. The zero value of a field is its default.
type Config struct {
	Memory  int           // bytes of all streams that are buffered, half for each direction; 64 MiB
	MaxLegs int           // of a stream; 8
	Linger  time.Duration // how long a stream lives without a leg, and is remembered after its end; 30 s
}

// ID names a stream to both ends. Who knows it can join.
type ID [16]byte

// Instance tells apart what converters make of an ID: one that has started
// again, or two processes of it. 0 is any.
type Instance uint64

// NewID returns one that cannot be guessed.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails: see there
	return id
}

// newInstance returns a random one that is not 0.
func newInstance() (i Instance) {
	for i == 0 {
		id := NewID()
		i = Instance(binary.BigEndian.Uint64(id[:]))
	}
	return i
}

// Key tells the streams of a Hub apart.
type Key struct {
	Scope string // a leg that came elsewhere does not find the stream
	ID    ID
}

// Hub owns streams. All its methods may be called at the same time.
type Hub struct {
	config  Config
	unacked *memory // of what is sent
	pending *memory // of what is received: with one memory for both, acknowledgements could wait for what waits for them
	running sync.WaitGroup
	legs    atomic.Int64

	mu      sync.Mutex
	streams map[Key]*Stream
	endings map[Key]ending
	ended   []Key // those of endings, the oldest first
	closed  bool
}

// ending is what a leg is told that joins after the end.
type ending struct {
	instance Instance
	last     []byte
	at       time.Time
}

// NewHub returns a Hub without streams.
func NewHub(c Config) *Hub {
	c.Memory = cmp.Or(c.Memory, 64<<20)
	c.MaxLegs = cmp.Or(c.MaxLegs, 8)
	c.Linger = cmp.Or(c.Linger, 30*time.Second)
	return &Hub{config: c, unacked: newMemory(c.Memory/2, chunkLen), pending: newMemory(c.Memory/2, chunkLen), streams: map[Key]*Stream{}, endings: map[Key]ending{}}
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
	return Stats{Streams: streams, Legs: int(h.legs.Load()), Memory: h.unacked.bytes() + h.pending.bytes()}
}

// Begin begins a stream with a new name. The caller has to Start it or to
// Release it. The error is ErrClosed.
func (h *Hub) Begin(scope string) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	return h.begin(Key{scope, NewID()}), nil
}

// Find returns the stream of a key, or begins it if any instance will do: the
// caller that is told that it is new has to Start it or to Release it. The
// error is an *EndedError, ErrUnknown or ErrClosed.
func (h *Hub) Find(key Key, instance Instance) (s *Stream, isNew bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, ErrClosed
	}
	h.forget(time.Now())
	e, ended := h.endings[key]
	switch s := h.streams[key]; {
	case s != nil && (instance == 0 || instance == s.instance):
		return s, false, nil
	case ended && (instance == 0 || instance == e.instance):
		return nil, false, &EndedError{e.instance, e.last}
	case instance != 0:
		return nil, false, ErrUnknown
	}
	return h.begin(key), true, nil
}

// begin makes a stream. The caller holds h.mu.
func (h *Hub) begin(key Key) *Stream {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &Stream{
		hub: h, key: key, instance: newInstance(), context: ctx, cancel: cancel,
		out: newSender(Window, h.unacked), in: newReceiver(Window, h.pending),
		deliver: make(chan struct{}, 1), released: make(chan struct{}),
	}
	h.streams[key] = s
	return s
}

// forget drops endings that are old, or too many. The caller holds h.mu.
func (h *Hub) forget(now time.Time) {
	for len(h.ended) > maxEnded || len(h.ended) > 0 && now.Sub(h.endings[h.ended[0]].at) >= h.config.Linger {
		delete(h.endings, h.ended[0])
		h.ended = h.ended[1:]
	}
}

// remove forgets a stream but for its last words.
func (h *Hub) remove(s *Stream, last []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	delete(h.streams, s.key)
	h.endings[s.key] = ending{s.instance, last, now}
	h.ended = append(h.ended, s.key)
	h.forget(now)
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
