// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A wake-up costs several times what the programs do for a connection. So
// whatever comes within coalesce of an event that was read waits until that is
// over, and after many those that are not urgent wait for another coalesce for
// each of them, up to coalesceMost. An event that comes alone is read at once.
const (
	coalesce     = time.Millisecond
	coalesceMost = 20 * time.Millisecond
)

// waiting is how ReadAll waits for events.
type waiting struct {
	came    int           // events that the last ReadAll has read
	most    time.Duration // coalesceMost
	patient bool          // the programs wake whoever reads the ring for urgent events only
	urgent  *os.File      // becomes readable when they do
	wakeups syscall.RawConn
}

// stage is what ReadAll does until there is an event or its time is over: one
// after the other.
type stage uint8

const (
	gathering stage = iota // lets events gather behind those of the last ReadAll
	settling               // has itself woken for any event from now on
	sleeping               // without end
)

// nothing is a deadline that is over: not to wait.
var nothing = time.Unix(0, 1)

// await reads a record. The error is os.ErrDeadlineExceeded if there is none.
func (e *Events) await(s stage) error {
	switch {
	case s == gathering && e.record.Remaining == 0 && e.waiting.came > 0:
		e.waiting.gather()
	case s == settling:
		if err := e.setPatient(false); err != nil {
			return err
		}
	case s == sleeping:
		return e.next(time.Time{})
	}
	return e.next(nothing)
}

// gather waits for a while, or until there is an urgent event, or the end: then
// the ring is closed, too.
func (w *waiting) gather() {
	time.Sleep(coalesce)
	longer := min(time.Duration(w.came-1)*coalesce, w.most)
	if longer > 0 && w.urgent.SetReadDeadline(time.Now().Add(longer)) == nil {
		_ = w.wakeups.Read(woken) // an error is that the time is over
	}
}

// woken reports whether there was a wake-up since it was called last.
func woken(fd uintptr) bool {
	var event [1]unix.EpollEvent
	n, err := unix.EpollWait(int(fd), event[:], 0)
	return n > 0 || err != nil
}

// setPatient says whether events that are not urgent may wait. After patience is
// lost the ring has to be looked at once more, since what has come until then has
// woken nobody; once it is back, what has woken before is about to be read.
func (e *Events) setPatient(patient bool) error {
	w := &e.waiting
	if w.patient == patient {
		return nil
	}
	var n uint32
	if patient {
		n = 1
	}
	if err := e.objects.Patient.Set(n); err != nil {
		return fmt.Errorf("tell which events wake: %w", err)
	}
	w.patient = patient
	if patient {
		// An error is that of a closed file: so is the ring.
		_ = w.wakeups.Control(func(fd uintptr) { woken(fd) })
	}
	return nil
}

// open makes the file for wake-ups of a ring: an epoll instance that becomes
// readable when the kernel wakes whoever waits, and not because there is something
// in the ring.
func (w *waiting) open(ring *ebpf.Map) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("wake-ups of the ring: %w", err)
	}
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, ring.FD(), &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET})
	if err == nil {
		err = unix.SetNonblock(fd, true) // for the poller of the runtime
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("wake-ups of the ring: %w", err)
	}
	w.urgent, w.most = os.NewFile(uintptr(fd), "wake-ups"), coalesceMost
	w.wakeups, err = w.urgent.SyscallConn()
	if err == nil {
		err = w.urgent.SetReadDeadline(time.Time{})
	}
	if err != nil {
		w.urgent.Close()
		return fmt.Errorf("wake-ups of the ring: %w", err)
	}
	return nil
}
