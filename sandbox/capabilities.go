// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Keep gives up all capabilities but some, of those that the process has, and
// the right to gain others by a program that is started. Those that are kept are
// in effect, and passed on to processes that are started.
func Keep(capabilities ...int) error {
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	var wanted set
	for _, c := range capabilities {
		wanted[c/32] |= 1 << (c % 32)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&header, &now[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if err := bound(wanted, now); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	kept, changed := now, false
	for i := range kept {
		keep := now[i].Permitted & wanted[i]
		kept[i] = unix.CapUserData{Effective: keep, Permitted: keep, Inheritable: keep}
		changed = changed || kept[i] != now[i]
	}
	if changed { // else a filter of system calls may not even allow to ask
		if err := capset(&kept); err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	for _, c := range capabilities {
		if kept[c/32].Permitted&(1<<(c%32)) == 0 {
			continue
		}
		if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0, 0); errno != 0 {
			return fmt.Errorf("capability %d for processes that are started: %w", c, errno)
		}
	}
	return nil
}

// set of capabilities: a bit each.
type set [2]uint32

func (s set) has(c int) bool { return s[c/32]&(1<<(c%32)) != 0 }

// bound takes those that are not wanted out of the bounding set, which only root
// can: programs that are started as root do not get them back.
func bound(wanted set, now [2]unix.CapUserData) error {
	if !(set{now[0].Permitted, now[1].Permitted}).has(unix.CAP_SETPCAP) {
		return nil
	}
	if now[0].Effective&(1<<unix.CAP_SETPCAP) == 0 { // after a change of the user
		raised := now
		raised[0].Effective |= 1 << unix.CAP_SETPCAP
		if err := capset(&raised); err != nil {
			return err
		}
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if wanted.has(c) {
			continue
		}
		if err := prctl(unix.PR_CAPBSET_DROP, uintptr(c)); err != nil && err != unix.EINVAL { // the kernel is older
			return fmt.Errorf("bounding set without %d: %w", c, err)
		}
	}
	return nil
}

// capset sets the capabilities of all threads.
func capset(data *[2]unix.CapUserData) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(data)), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}
