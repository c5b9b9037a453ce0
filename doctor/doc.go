// SPDX-License-Identifier: Apache-2.0

// Package doctor finds out whether a machine has what a gateway needs: the
// kernel, its settings, the links and the way to the aggregators over each of
// them. It looks and tries, and changes nothing.
//
// Everything is about the network namespace of the calling thread; goroutines
// are not used. A Row whose Verdict is not OK says what is lost and, where there
// is one, the command that mends it.
package doctor
