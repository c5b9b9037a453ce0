// SPDX-License-Identifier: Apache-2.0

// Package redundant carries one byte stream over several connections ("legs"),
// each of which has a copy of it, so that every byte arrives at the speed of
// the leg that is fastest at that moment.
//
// A sender keeps what is not acknowledged, at most a Window. Each leg has its
// own place in the stream; one that lags behind what was acknowledged on
// another leg jumps there. A receiver delivers what is new, drops the rest, and
// acknowledges on all legs what it has delivered. The end of a direction is
// acknowledged like a byte, so that a leg that joins late can still bring it.
//
// A Stream does this for one end of a socket pair, with goroutines that a Hub
// owns. While nothing is under way it holds no buffer.
package redundant
