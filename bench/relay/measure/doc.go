// SPDX-License-Identifier: Apache-2.0

// Package measure reads from /proc what a program with all its processes
// costs: CPU time, user memory, descriptors.
package measure
