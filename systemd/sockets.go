// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstFD is the first descriptor that is passed.
const firstFD = 3

// maxFDs bounds what the environment may claim.
const maxFDs = 1 << 16

// Sockets returns the descriptors that the service manager has opened for this
// process, closed on exec; none if it has not. They belong to the caller. It is
// to be called once, before other descriptors are opened.
func Sockets() ([]int, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if pid == "" || count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("environment: LISTEN_FDS=%q: want a number of descriptors", count)
	}
	for _, name := range PIDVariables[1:] {
		os.Unsetenv(name) // not for processes that this one starts
	}
	var fds []int
	for fd := firstFD; fd < firstFD+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("socket %d of %d from the service manager: %w", fd-firstFD+1, n, err)
		}
		fds = append(fds, fd)
	}
	return fds, nil
}
