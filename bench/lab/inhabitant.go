// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// endInhabitants ends the processes that live in the namespace with the given
// device and inode numbers: daemons that left their parent, or the processes of
// a lab whose owner was killed. This process itself is spared.
func endInhabitants(dev, ino uint64) error {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		deadline := time.Now().Add(stopGrace)
		// Several rounds, because a process may fork while others are listed.
		for time.Now().Before(deadline) {
			left, err := signalInhabitants(dev, ino, sig, deadline)
			if err != nil || left == 0 {
				return err
			}
		}
	}
	return errors.New("processes outlive SIGKILL")
}

// signalInhabitants sends a signal to every process in the namespace, waits
// until they have ended or the deadline has passed, and returns how many there
// were.
func signalInhabitants(dev, ino uint64, sig unix.Signal, deadline time.Time) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	var pidfds []int
	defer func() {
		for _, fd := range pidfds {
			unix.Close(fd)
		}
	}()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !inNamespace(pid, dev, ino) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		// Checked again: between the two the pid may have been reused, from
		// here on the descriptor stands for one process only.
		if !inNamespace(pid, dev, ino) {
			unix.Close(fd)
			continue
		}
		pidfds = append(pidfds, fd)
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, fmt.Errorf("%s to process %d: %w", sig, pid, err)
		}
	}
	for _, fd := range pidfds {
		if err := awaitReadable(fd, deadline); err != nil {
			return 0, err
		}
	}
	return len(pidfds), nil
}

// awaitReadable waits for a pidfd, which becomes readable when its process ends.
func awaitReadable(fd int, deadline time.Time) error {
	for {
		left := max(time.Until(deadline), 0)
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func inNamespace(pid int, dev, ino uint64) bool {
	var st unix.Stat_t
	// A zombie has left its namespaces: the link cannot be followed.
	err := unix.Stat(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"), &st)
	return err == nil && st.Dev == dev && st.Ino == ino
}
