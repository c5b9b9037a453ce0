// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutMPTCP makes socket() on the calling thread answer errno when it is
// asked for MPTCP, by a seccomp filter. The filter stays, so the thread is
// never unlocked and ends with the goroutine.
func withoutMPTCP(t *testing.T, errno unix.Errno) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	// Offsets in struct seccomp_data; the low half of the third argument.
	const nr, args = 0, 16
	protocol := uint32(args + 2*8)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		protocol += 4
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	answer := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	filter := []unix.SockFilter{
		load(nr), unless(unix.SYS_SOCKET, 3),
		load(protocol), unless(unix.IPPROTO_MPTCP, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(errno)),
		answer(unix.SECCOMP_RET_ALLOW),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); e != 0 {
		t.Skipf("no seccomp filter: %v", e)
	}
}

func TestCannotHaveMPTCP(t *testing.T) {
	for _, tt := range []struct {
		name     string
		errno    unix.Errno
		sentinel error
		reason   FallbackReason
	}{
		{"no CONFIG_MPTCP", unix.EPROTONOSUPPORT, ErrUnsupported, KernelWithout},
		{"before Linux 5.6", unix.EINVAL, ErrUnsupported, KernelWithout},
		{"seccomp", unix.EPERM, ErrForbidden, Forbidden},
		{"SELinux", unix.EACCES, ErrForbidden, Forbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needMPTCP(t)
			withoutMPTCP(t, tt.errno)
			if err := Supported(); !errors.Is(err, tt.sentinel) || !errors.Is(err, tt.errno) {
				t.Errorf("Supported: %v", err)
			}
			wantWithout(t, tt.reason, tt.sentinel)
		})
	}
}

// What plain TCP would not mend is the caller's to see.
func TestOtherRefusals(t *testing.T) {
	needMPTCP(t)
	withoutMPTCP(t, unix.EMFILE)
	if l, err := Listen(loopback4, ListenOptions{Mode: ModePrefer}); !errors.Is(err, unix.EMFILE) {
		t.Errorf("listener: %+v, %v", l, err)
	}
}
