// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handler is told when a socket of its own is ready. It must not block. The
// flags of the socket say what to try; a handler that stops before it met
// EAGAIN asks for another turn with Loop.Again.
type Handler interface {
	Ready(s *Socket)
}

// Socket is a non-blocking descriptor registered on a loop. Events are
// edge-triggered: Readable and Writable are set when the kernel reports them
// and cleared by the user who meets EAGAIN. Hangup stays set once the peer
// has finished sending or reset, Failed once the kernel has an error for it,
// Urgent once the peer has sent urgent data (RFC 9293 section 3.8.5).
type Socket struct {
	FD       int
	Readable bool
	Writable bool
	Hangup   bool
	Failed   bool
	Urgent   bool
	// Plain says that this is a TCP socket, not an MPTCP one.
	Plain bool

	registered bool
	queued     bool
	handler    Handler
}

// note records what epoll reported. Errors and hang-ups make a socket both
// readable and writable: the next call tells what happened.
func (s *Socket) note(events uint32) {
	const end = unix.EPOLLERR | unix.EPOLLHUP
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|end) != 0 {
		s.Readable = true
	}
	if events&(unix.EPOLLOUT|end) != 0 {
		s.Writable = true
	}
	if events&(unix.EPOLLRDHUP|end) != 0 {
		s.Hangup = true
	}
	if events&unix.EPOLLERR != 0 {
		s.Failed = true
	}
	if events&unix.EPOLLPRI != 0 {
		s.Urgent = true
	}
}

// Drained reports whether a read that brought less than was asked for has
// emptied the socket, so that whatever comes next raises an event: so it is
// with TCP (epoll(7)), but for the end of the stream if its event has been, and
// for reads that stop short at urgent data. With MPTCP it is not: moving data
// up from the subflows raises none.
func (s *Socket) Drained() bool {
	return s.Plain && !s.Hangup && !s.Failed && !s.Urgent
}

// Register watches s.FD for reading and writing, edge-triggered, and calls h
// when something changes. State that already holds is reported too.
func (l *Loop) Register(s *Socket, h Handler) error {
	return l.register(s, h, reading|unix.EPOLLOUT)
}

// reading are the events of sockets that are not to be written to.
const reading = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET

// RegisterReading is Register for a socket that is not to be written to before
// WatchWriting: it becomes writable by nothing but an error or a hang-up.
func (l *Loop) RegisterReading(s *Socket, h Handler) error { return l.register(s, h, reading) }

// WatchWriting watches a socket of RegisterReading for writing as well. It becomes
// writable soon if it can be.
func (l *Loop) WatchWriting(s *Socket) error {
	ev := unix.EpollEvent{Events: reading | unix.EPOLLOUT, Fd: int32(s.FD), Pad: l.slot(s.FD).gen}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, s.FD, &ev); err != nil {
		return fmt.Errorf("watch descriptor %d for writing: %w", s.FD, err)
	}
	return nil
}

// RegisterListener watches a listening socket that several loops share. The
// kernel wakes one of them (EPOLLEXCLUSIVE), and wakes again as long as
// connections wait (level-triggered).
func (l *Loop) RegisterListener(s *Socket, h Handler) error {
	return l.register(s, h, unix.EPOLLIN|unix.EPOLLEXCLUSIVE)
}

func (l *Loop) register(s *Socket, h Handler, events uint32) error {
	sl := l.slot(s.FD)
	sl.gen++
	ev := unix.EpollEvent{Events: events, Fd: int32(s.FD), Pad: sl.gen}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.epfd), unix.EPOLL_CTL_ADD, uintptr(s.FD),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("watch descriptor %d: %w", s.FD, errno)
	}
	sl.socket = s
	s.handler, s.registered = h, true
	return nil
}

// Unregister stops watching s without closing it.
func (l *Loop) Unregister(s *Socket) {
	if !s.registered {
		return
	}
	l.forget(s)
	// Fails only when the descriptor is gone, which is what was wanted.
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, s.FD, nil)
}

// Close closes the descriptor and forgets it. A second call does nothing.
func (l *Loop) Close(s *Socket) {
	if s.FD < 0 {
		return
	}
	l.forget(s)
	// Raw, as it does not block: see epollPoll.
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(s.FD), 0, 0)
	s.FD = -1
}

func (l *Loop) forget(s *Socket) {
	if !s.registered {
		return
	}
	s.registered = false
	if sl := l.slot(s.FD); sl.socket == s {
		sl.socket = nil
	}
}

// Again calls the handler of s once more in the next round, after all sockets
// that are ready now have had their turn.
func (l *Loop) Again(s *Socket) {
	if s.queued {
		return
	}
	s.queued = true
	l.again = append(l.again, s)
}

// Move makes dst take the place of src: the same descriptor, readiness and
// registration, delivered to h from now on. src is left closed.
func (l *Loop) Move(dst, src *Socket, h Handler) {
	wasQueued := src.queued
	*dst = *src
	dst.handler, dst.queued = h, false
	if dst.registered {
		l.slot(dst.FD).socket = dst
	}
	src.FD, src.registered = -1, false
	if wasQueued {
		l.Again(dst)
	}
}
