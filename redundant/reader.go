// SPDX-License-Identifier: Apache-2.0

package redundant

import (
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// frames and blocks are the buffers of those at work: none is held while
// waiting for bytes.
var (
	frames = sync.Pool{New: func() any { b := make([]byte, 0, maxAnswer+2*HeaderLen+MaxData); return &b }}
	blocks = sync.Pool{New: func() any { b := make([]byte, 2*MaxData); return &b }}
)

// reader reads from a socket that does not block.
type reader struct {
	raw   syscall.RawConn
	read  func(fd uintptr) bool // made once
	block *[]byte
	n     int
	err   error
}

func newReader(f *os.File) (*reader, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &reader{raw: raw}
	r.read = r.try
	return r, nil
}

// next waits until there is something and returns it, to be used until done is
// called. The end is io.EOF.
func (r *reader) next() ([]byte, error) {
	r.n, r.err = 0, nil
	err := r.raw.Read(r.read)
	switch {
	case err == nil && r.err != nil:
		err = r.err
	case err == nil && r.n == 0:
		err = io.EOF
	case err == nil:
		return (*r.block)[:r.n], nil
	}
	r.done()
	return nil, err
}

// done gives the block of next back.
func (r *reader) done() {
	if r.block != nil {
		blocks.Put(r.block)
		r.block = nil
	}
}

// try reads once, unless there is nothing yet.
func (r *reader) try(fd uintptr) bool {
	r.block = blocks.Get().(*[]byte)
	for {
		if r.n, r.err = unix.Read(int(fd), *r.block); r.err != unix.EINTR {
			break
		}
	}
	if r.err == unix.EAGAIN {
		r.done()
		return false
	}
	return true
}
