// SPDX-License-Identifier: Apache-2.0

package socks

import "sync/atomic"

// Drop is a reason not to forward a datagram.
type Drop uint8

// The reasons not to forward a datagram.
const (
	DropForeign     Drop = iota // not from the client of the association
	DropMalformed               // no header, or a name that cannot exist
	DropFragment                // FRAG is not 0
	DropDenied                  // policy, or no address for a single host
	DropUnresolved              // the name has no address
	DropOverload                // too much waits for names to be resolved
	DropUnsolicited             // from a host that the client has not sent to
	DropUnsendable              // the kernel would not send it
	DropRate                    // more than the client may have, see Meter
	dropReasons
)

// String returns the reason as a word for metrics.
func (d Drop) String() string {
	names := [dropReasons]string{"foreign", "malformed", "fragment", "denied", "unresolved", "overload", "unsolicited", "unsendable", "rate"}
	if d < dropReasons {
		return names[d]
	}
	return "unknown"
}

// Traffic counts datagrams and the bytes of their payload.
type Traffic struct{ Packets, Bytes uint64 }

// UDPCounters is what an association has done so far.
type UDPCounters struct {
	Up, Down Traffic // from the client, to the client
	Drops    [dropReasons]uint64
}

type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) count(n int) {
	t.packets.Add(1)
	t.bytes.Add(uint64(n))
}

func (t *traffic) load() Traffic { return Traffic{t.packets.Load(), t.bytes.Load()} }

type udpCounters struct {
	moved [2]traffic // by direction
	drops [dropReasons]atomic.Uint64
}

func (c *udpCounters) load() UDPCounters {
	out := UDPCounters{Up: c.moved[Up].load(), Down: c.moved[Down].load()}
	for i := range c.drops {
		out.Drops[i] = c.drops[i].Load()
	}
	return out
}
