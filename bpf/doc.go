// SPDX-License-Identifier: Apache-2.0

// Package bpf runs eBPF programs on the sockets of this process, on a kernel
// as it comes from the distribution.
//
// Open moves the process into a cgroup of its own and attaches the programs to
// that, so that no other process is affected. The kernel ties a socket to the
// cgroup in which its maker was at that moment, and accepted connections to
// that of their listener: sockets made before Open are not seen. Children
// started meanwhile begin in the cgroup too. Close puts everybody back.
//
// Nothing is pinned. When the process ends, however it does, the kernel
// detaches the programs; the empty cgroup that a killed process leaves is
// removed by the next Open.
//
// The programs are in C below kernel, one file per concern, and compiled into
// the package: neither a compiler nor kernel headers are needed to use it.
package bpf
