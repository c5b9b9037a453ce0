// SPDX-License-Identifier: Apache-2.0

// Package sandbox gives up what a process does not need: its user, its
// capabilities (capabilities(7)), the right to gain others (no_new_privs), and
// files (landlock(7)). All of it holds for every thread, and for processes that
// are started later; nothing of it can be taken back.
//
//	err := sandbox.Become(user, own)  // as root
//	err = sandbox.Keep(unix.CAP_NET_ADMIN)
//	err = sandbox.Confine(sandbox.Paths{Read: …, Write: …})
//
// Processes that are started inherit it: what is kept of capabilities is ambient.
package sandbox
