// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Group is a program: the process that was started as the leader of a process
// group, and those it has forked. (A daemon that leaves the group is not seen.)
type Group struct {
	// PGID is the id of the process group, which is the pid of its leader.
	PGID int
}

// Usage is what a group has used and holds at one moment.
type Usage struct {
	// Processes in the group.
	Processes int
	// CPU time, of the user and of the system, of all processes and of those
	// that have ended and were waited for, which the kernel tells in steps of
	// 10 ms. What it does for the group outside of system calls, in soft
	// interrupts, is charged to whoever runs at that moment.
	CPU time.Duration
	// Memory is the user memory in bytes: the proportional set size (PSS), in
	// which a page shared by n processes counts as 1/n.
	Memory int64
	// Anonymous is what of it is not of files: unlike the rest, it does not
	// change when another process begins to share the program's pages.
	Anonymous int64
	// Descriptors that are open.
	Descriptors int
}

// CPU reads only the CPU time, which is cheap.
func (g Group) CPU() (time.Duration, error) {
	var cpu time.Duration
	err := g.each(func(pid int, s stat) error {
		own, err := clock(pid)
		if err == nil {
			cpu += own + s.waited
		}
		return err
	})
	return cpu, err
}

// clock reads the CPU clock of a process in nanoseconds, see
// clock_getcpuclockid(3).
func clock(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED, include/linux/posix-timers.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		if errors.Is(err, unix.EINVAL) { // there is no such process
			err = unix.ESRCH
		}
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Usage reads everything.
func (g Group) Usage() (Usage, error) {
	var u Usage
	err := g.each(func(pid int, s stat) error {
		dir := processDir(pid)
		own, err := clock(pid)
		if err != nil {
			return err
		}
		rollup, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
		if err != nil {
			return err
		}
		memory, err := parseRollup(rollup, "Pss:")
		if err != nil {
			return fmt.Errorf("%s/smaps_rollup: %w", dir, err)
		}
		anonymous, err := parseRollup(rollup, "Pss_Anon:")
		if err != nil {
			return fmt.Errorf("%s/smaps_rollup: %w", dir, err)
		}
		fds, err := countFDs(dir)
		if err != nil {
			return err
		}
		u.Processes++
		u.CPU += own + s.waited
		u.Memory += memory
		u.Anonymous += anonymous
		u.Descriptors += fds
		return nil
	})
	return u, err
}

// each calls f for every process of the group. A process that ends meanwhile
// is left out.
func (g Group) each(f func(pid int, s stat) error) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := processDir(pid)
		text, err := os.ReadFile(filepath.Join(dir, "stat"))
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		s, err := parseStat(text)
		if err != nil {
			return fmt.Errorf("%s/stat: %w", dir, err)
		}
		if s.pgrp != g.PGID || s.state == 'Z' {
			continue
		}
		if err := f(pid, s); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

func processDir(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid)) }

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// countFDs counts the entries of /proc/PID/fd. Their number can be large, so
// that they are not sorted or looked at.
func countFDs(dir string) (int, error) {
	d, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names), err
}
