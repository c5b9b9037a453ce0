// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes one goroutine at a time that others may bring forward. It is a
// timerfd, because the runtime's timers are only accurate to a millisecond
// where the machine is idle, while a file wakes its reader at once.
type alarm struct {
	file *os.File
	fd   int
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return &alarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// after sets the alarm off once in d, at once if d is not positive. It must not
// be called after close.
func (a *alarm) after(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	// It fails for a bad descriptor or time only, neither of which can be.
	_ = unix.TimerfdSettime(a.fd, 0, &spec, nil)
}

// wait returns when the alarm has gone off, and an error after close.
func (a *alarm) wait() error {
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err
}

func (a *alarm) close() error { return a.file.Close() }
