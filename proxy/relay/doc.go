// SPDX-License-Identifier: Apache-2.0

// Package relay moves bytes between the two sockets of a connection.
//
// A Pair belongs to one event loop. Each of its directions reads what there
// is and writes it at once; it never reads what it cannot expect to write, so
// that back-pressure is the kernel's. How bytes are moved follows what the
// flow does: a small read at first, larger ones while reads come back full,
// and splice(2) through a 1 MiB pipe once the flow is bulky. Buffers and
// pipes belong to bytes in flight: an idle Pair holds its two descriptors and
// nothing else.
//
// Ends and resets travel: the end of a stream becomes a half-close of the
// other leg, a reset becomes a reset.
package relay
