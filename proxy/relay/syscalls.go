// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// The calls of this file never block. They keep the Go scheduler's processor,
// because the runtime's monitor takes it away from whoever is in a system call
// for more than 20 µs, polls for that every 20 µs, and the return costs a wait
// for a free one.

// Read reads once and clears s.Readable when there is nothing more. Only EAGAIN
// tells that of an MPTCP socket, a short read is enough with TCP.
func Read(s *event.Socket, b []byte) (int, error) {
	for {
		n, err := transfer(unix.SYS_READ, s.FD, b)
		switch err {
		case nil:
			if n > 0 && n < len(b) && s.Drained() {
				s.Readable = false
			}
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			s.Readable = false
			return -1, err
		default:
			return -1, err
		}
	}
}

// Write writes until b is empty or s is full, and clears s.Writable then. It
// reports how many bytes were taken, also with an error.
func Write(s *event.Socket, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := transfer(unix.SYS_WRITE, s.FD, b[done:])
		switch err {
		case nil:
			done += n
		case unix.EINTR:
		case unix.EAGAIN:
			s.Writable = false
			return done, err
		default:
			return done, err
		}
	}
	return done, nil
}

// transfer is read(2) or write(2).
func transfer(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func splice(from, to, n int) (int, error) {
	for {
		m, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(m), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// shutdown ends the stream to a peer.
func shutdown(fd int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	if errno != 0 && errno != unix.ENOTCONN {
		return errno
	}
	return nil
}

func ignoreAgain(err error) error {
	if err == unix.EAGAIN {
		return nil
	}
	return err
}
