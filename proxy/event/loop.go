// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrClosed is returned by Post when the loop has ended.
var ErrClosed = errors.New("event loop is closed")

// batch is how many events one epoll_wait may return.
const batch = 256

// Loop is one epoll instance with the sockets and timers registered on it.
// All methods except Post must be called on the loop's own goroutine, or
// before Run.
type Loop struct {
	epfd   int
	wakefd int
	slots  []*page // by descriptor
	events [batch]unix.EpollEvent
	made   time.Time
	now    time.Time // at which the present round began
	timers timerHeap
	again  []*Socket
	spare  []*Socket

	mu     sync.Mutex
	posted []func()
	closed bool
}

// slot is one registered descriptor. The generation tells an event of the
// present socket from a stale one of a predecessor with the same number.
type slot struct {
	socket *Socket
	gen    int32
}

// page holds the slots of neighbouring descriptors, so that the table grows
// without being copied.
type page [256]slot

// slot is that of a descriptor.
func (l *Loop) slot(fd int) *slot {
	i := fd / len(page{})
	for i >= len(l.slots) {
		l.slots = append(l.slots, nil)
	}
	if l.slots[i] == nil {
		l.slots[i] = new(page)
	}
	return &l.slots[i][fd%len(page{})]
}

// NewLoop creates an epoll instance. Run must be called to drive and release
// it.
func NewLoop() (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll instance: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("create wake-up eventfd: %w", err)
	}
	now := time.Now()
	l := &Loop{epfd: epfd, wakefd: wakefd, made: now, now: now}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakefd)}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &ev); err != nil {
		l.release()
		return nil, fmt.Errorf("register wake-up eventfd: %w", err)
	}
	return l, nil
}

// Now is the time at which the present round of events began. It saves a
// clock reading per event; its error is the length of one round.
func (l *Loop) Now() time.Time { return l.now }

// Age is how long ago the loop was made, at the time that Now returns. It takes
// a third of the room of a time.
func (l *Loop) Age() time.Duration { return l.now.Sub(l.made) }

// Post runs f on the loop soon, in the order of the calls. It is safe from
// any goroutine. It reports ErrClosed, and f is not run, once the loop ended.
func (l *Loop) Post(f func()) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.posted = append(l.posted, f)
	if len(l.posted) == 1 {
		l.ring()
	}
	l.mu.Unlock()
	return nil
}

// ring makes the eventfd readable. The caller holds l.mu and has seen that
// the loop is not closed, so that the descriptor is still ours.
func (l *Loop) ring() {
	one := [8]byte{1}
	// EAGAIN means that the counter is already non-zero: the loop will wake.
	_, _ = unix.Write(l.wakefd, one[:])
}

func (l *Loop) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.ring()
	}
}

// Run serves events until ctx ends, then closes the loop. Sockets that are
// still registered stay open: their owners close them.
func (l *Loop) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.wake)
	defer stop()
	defer l.release()
	for ctx.Err() == nil {
		n, err := l.wait()
		if err != nil {
			return fmt.Errorf("wait for events: %w", err)
		}
		l.now = time.Now()
		for i := range n {
			l.dispatch(&l.events[i])
		}
		l.runAgain()
		l.expire()
	}
	return nil
}

// wait fills l.events. It polls without leaving the Go scheduler's processor
// first, because under load there is nearly always something to do, and only
// blocks in a real system call when there is not.
func (l *Loop) wait() (int, error) {
	n, errno := epollPoll(l.epfd, l.events[:])
	if errno != 0 && errno != unix.EINTR {
		return 0, errno
	}
	if n > 0 || len(l.again) > 0 {
		return n, nil
	}
	n, err := unix.EpollWait(l.epfd, l.events[:], l.timeout())
	if err == unix.EINTR {
		return 0, nil
	}
	return n, err
}

func epollPoll(epfd int, events []unix.EpollEvent) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// timeout is the time to the next timer in milliseconds, rounded up so that
// the loop does not spin just before it is due; -1 without a timer.
func (l *Loop) timeout() int {
	if len(l.timers) == 0 {
		return -1
	}
	d := l.timers[0].when - time.Since(l.made)
	if d <= 0 {
		return 0
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

func (l *Loop) dispatch(ev *unix.EpollEvent) {
	if int(ev.Fd) == l.wakefd {
		l.runPosted()
		return
	}
	s := l.slot(int(ev.Fd))
	if s.socket == nil || s.gen != ev.Pad {
		return
	}
	s.socket.note(ev.Events)
	s.socket.handler.Ready(s.socket)
}

func (l *Loop) runPosted() {
	var count [8]byte
	_, _ = unix.Read(l.wakefd, count[:])
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// runAgain gives another turn to the sockets whose handlers stopped before
// they had exhausted them, for the sake of the others.
func (l *Loop) runAgain() {
	if len(l.again) == 0 {
		return
	}
	due := l.again
	l.again = l.spare[:0]
	for i, s := range due {
		due[i] = nil
		s.queued = false
		if s.registered {
			s.handler.Ready(s)
		}
	}
	l.spare = due[:0]
}

// release runs what was posted before the end, so that no caller waits for
// an answer that never comes, and closes the descriptors.
func (l *Loop) release() {
	l.mu.Lock()
	l.closed = true
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
	unix.Close(l.epfd)
	unix.Close(l.wakefd)
}
