// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Control sequences of terminals (ECMA-48, and xterm's private modes).
const (
	screenOn  = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	screenOff = "\x1b[?25h\x1b[?1049l"
	goHome    = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
	bold      = "\x1b[1m"
	reversed  = "\x1b[7m"
	normal    = "\x1b[0m"
)

// screen is a terminal that is drawn on, and its keys.
type screen struct {
	in, out *os.File
	before  *term.State // nil: keys are not to be had
	keys    chan byte
	wake    [2]int // a pipe whose end ends the reader of keys
	reading sync.WaitGroup
}

// openScreen takes a terminal until close. Without one to read from it is only
// drawn on, and a signal ends that.
func openScreen(in, out *os.File) (*screen, error) {
	s := &screen{in: in, out: out, keys: make(chan byte, 16)}
	if term.IsTerminal(int(in.Fd())) {
		if err := unix.Pipe2(s.wake[:], unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		before, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			unix.Close(s.wake[0])
			unix.Close(s.wake[1])
			return nil, fmt.Errorf("read keys: %w", err)
		}
		s.before = before
		s.reading.Go(s.read)
	}
	if _, err := out.WriteString(screenOn); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// read hands keys on until the pipe is closed.
func (s *screen) read() {
	fds := []unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}, {Fd: int32(s.wake[0]), Events: unix.POLLIN}}
	buffer := make([]byte, 16)
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil || fds[1].Revents != 0 {
			return
		}
		n, err := unix.Read(int(s.in.Fd()), buffer)
		gone := err != nil || n == 0
		key := buffer[0]
		switch {
		case gone:
			key = 'q'
		case key == 0x1b && n > 1:
			continue // an arrow or the like
		}
		select {
		case s.keys <- key:
		default: // nobody types as fast
		}
		if gone {
			return
		}
	}
}

// close gives the terminal back as it was.
func (s *screen) close() {
	_, _ = s.out.WriteString(screenOff)
	if s.before != nil {
		unix.Close(s.wake[1])
		s.reading.Wait()
		unix.Close(s.wake[0])
		_ = term.Restore(int(s.in.Fd()), s.before)
	}
}

// draw shows a view in the size that the terminal has now.
func (s *screen) draw(v *topView) error {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	var b bytes.Buffer
	b.WriteString(goHome)
	lines := v.frame(width, height)
	for i, line := range lines {
		switch line.look {
		case lookTitle:
			b.WriteString(bold + line.text + normal)
		case lookHead:
			b.WriteString(reversed + line.text + normal)
		default:
			b.WriteString(line.text)
		}
		b.WriteString(clearLine)
		if i < len(lines)-1 {
			b.WriteString("\r\n")
		}
	}
	b.WriteString(clearRest)
	_, err = s.out.Write(b.Bytes())
	return err
}
