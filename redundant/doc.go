// SPDX-License-Identifier: Apache-2.0

// Package redundant carries one byte stream over several connections ("legs"),
// each of which has a copy of it, so that every byte arrives at the speed of
// the leg that is fastest at that moment.
//
// A Sender keeps what is not acknowledged, at most a window. Each leg has its
// own place in the stream; one that lags behind what was acknowledged on
// another leg jumps there. A Receiver delivers what is new and drops the rest.
// Neither does I/O.
package redundant
