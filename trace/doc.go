// SPDX-License-Identifier: Apache-2.0

// Package trace works out from a capture of packets what the MPTCP connections
// in it did (RFC 8684, and version 0 of RFC 6824): a passive analysis, in one
// pass, with memory for the connections that live at a time.
//
// An [Analyzer] gets one segment after another and gives a [Connection] to its
// owner as soon as one is over. Nothing is guessed: what the capture does not
// show is left out or counted as missing, and connections whose handshake is not
// in it are only counted.
//
// A connection has two sides, the client, which sent the first SYN, and the
// server; up is from client to server. A subflow may be opened by either.
package trace

import "time"

// instant is a time of the capture in nanoseconds since 1970.
type instant int64

func (t instant) since(earlier instant) time.Duration { return time.Duration(t - earlier) }

func (t instant) time() time.Time { return time.Unix(0, int64(t)).UTC() }

// side is an end of a connection, and the direction from there.
type side uint8

const (
	client side = iota
	server
)

func (s side) other() side { return 1 - s }

func (s side) String() string {
	if s == client {
		return "client"
	}
	return "server"
}
