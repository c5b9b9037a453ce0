// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrUnavailable reports that this kernel, or the privileges of this process,
// do not allow what was asked for. Tandem works without it; the error says
// what is lost.
var ErrUnavailable = errors.New("eBPF is not available")

// unavailable explains an error that came up while doing something for a
// program without which something is lost.
func unavailable(doing, program, lost string, err error) error {
	hint := ""
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		hint = " (needs root, or CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and a cgroup that may be written to)"
	}
	return fmt.Errorf("%w: %s program %s on Linux %s: %w%s; without it %s",
		ErrUnavailable, doing, program, kernelRelease(), err, hint, lost)
}

// kernelRelease is what `uname -r` prints.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "of unknown release"
	}
	return unix.ByteSliceToString(u.Release[:])
}
