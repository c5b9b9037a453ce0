// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/event"
)

// Read reads once and clears s.Readable when there is nothing. It goes on to
// EAGAIN even after a short read: an MPTCP socket may have more without a new
// event, because moving data up from its subflows does not raise one.
func Read(s *event.Socket, b []byte) (int, error) {
	for {
		n, err := unix.Read(s.FD, b)
		switch err {
		case nil:
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
		n, err := unix.Write(s.FD, b[done:])
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

func splice(from, to, n int) (int, error) {
	for {
		m, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(m), err
		}
	}
}

func ignoreAgain(err error) error {
	if err == unix.EAGAIN {
		return nil
	}
	return err
}
