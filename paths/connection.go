// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp/pm"
)

// Path is where subflows run: a local address, and an address of the peer with
// its port.
type Path struct {
	Local  netip.Addr
	Remote netip.AddrPort
}

// String is for logs.
func (p Path) String() string { return p.Local.String() + " to " + p.Remote.String() }

// State of a subflow.
type State uint8

// The states.
const (
	Waiting     State = iota // to be opened as soon as the engine's limits and back-off allow
	Opening                  // the kernel is at it
	Established              // carries data
	Closing                  // the kernel was told to close it
	Closed
	Withheld // was closed because its path is drained, and has no successor: see Engine.Drain
)

var stateNames = [...]string{"waiting", "opening", "established", "closing", "closed", "withheld"}

// String is for logs.
func (s State) String() string { return stateNames[min(int(s), len(stateNames)-1)] }

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (s *State) UnmarshalText(b []byte) error {
	i := slices.Index(stateNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown state %q", b)
	}
	*s = State(i)
	return nil
}

// Subflow is one TCP connection of an MPTCP connection.
type Subflow struct {
	Path
	Port    uint16 // local; 0 until it is established
	State   State
	Since   time.Time // when it came into this state
	Opened  Cause
	Passive bool // opened by the peer
	Backup  bool // data goes over it only while there is no other
	// ID is the kernel's number of the subflow: 1 for the first one of a
	// connection; 0 where it does not tell.
	ID       uint32
	LocalID  uint8 // address identifiers (RFC 8684 section 3.2)
	RemoteID uint8
	// Lost: there was a route for its path, and there is none now.
	Lost bool

	// Of closed ones.

	Closed Cause
	Error  unix.Errno // of its socket, or the kernel's answer; 0 is none

	// As last seen; the last values of closed ones. Snapshot asks for them.

	RTT      time.Duration // smoothed
	Sent     uint64        // bytes, without retransmissions
	Acked    uint64        // bytes of them
	Received uint64        // bytes

	handle  uint64    // tells subflows apart, in actions
	missed  time.Time // since when the kernel does not have it, though no event told; zero is never
	due     time.Time // of the attempt, for Waiting
	overdue bool      // it takes too long, for Opening
	resting bool      // a backup for a while: see restFor
	device  int       // that it is bound to
	routed  bool      // there was a route for it
	heals   loss      // what it restores
	heir    bool      // it is Lost, and another one was asked for in its place
	number  int       // of its path, from 1; 0 is none

	priority priority
	draining draining
}

// local is where an established subflow is.
func (s *Subflow) local() netip.AddrPort { return netip.AddrPortFrom(s.Local, s.Port) }

// Remote is an address of the peer to which subflows may be opened.
type Remote struct {
	ID   uint8 // 0 is the address of the first subflow
	Addr netip.AddrPort
}

// Connection is what a Manager sees of a connection. It must not change it, nor
// keep it.
type Connection struct {
	Token     uint32
	Initiator bool      // this end opened the connection
	Now       time.Time // at which the event is told
	Begun     time.Time // when the connection came into being
	First     Path      // of its first subflow

	// Subflows are those that exist, or are waited for, or whose place is kept
	// empty: not closed ones, nor those being closed. The order is that in which they were asked for.
	Subflows []Subflow
	// Extra is how many subflows beyond the first one were ever established.
	Extra int

	// Paths are all pairs of a local address and one of the peer with a route
	// between them that leaves by the interface of the local address.
	Paths []Path
	// Remotes are the addresses of the peer: that of the first subflow, unless
	// the peer takes no joins there, and those that it announced.
	Remotes []Remote

	Bytes uint64 // acknowledged by the peer and received from it, when last looked at
	// Rate is how many bits per second went both ways since the last Due but
	// one, for Due; 0 if there was none.
	Rate float64

	// Endpoints and Limits of the in-kernel path manager.
	Endpoints []pm.Endpoint
	Limits    pm.Limits
}

// Age of the connection.
func (c *Connection) Age() time.Duration { return c.Now.Sub(c.Begun) }

// Has reports whether there is a route for a path.
func (c *Connection) Has(p Path) bool { return slices.Contains(c.Paths, p) }

// On counts the subflows on a path.
func (c *Connection) On(p Path) int {
	n := 0
	for i := range c.Subflows {
		if c.Subflows[i].Path == p {
			n++
		}
	}
	return n
}

// Live counts the established subflows.
func (c *Connection) Live() int {
	n := 0
	for i := range c.Subflows {
		if c.Subflows[i].State == Established {
			n++
		}
	}
	return n
}

// Home is the path that the connection belongs on: that of its first subflow,
// as long as there is a route for it, else one that it is on already, else any.
// It is false if there is none.
func (c *Connection) Home() (Path, bool) {
	if c.Has(c.First) {
		return c.First, true
	}
	for i := range c.Subflows {
		if p := c.Subflows[i].Path; c.Has(p) && c.Subflows[i].State != Withheld {
			return p, true
		}
	}
	if len(c.Paths) > 0 {
		return c.Paths[0], true
	}
	return Path{}, false
}

// Fill asks for so many subflows on a path that there are n.
func (c *Connection) Fill(p Path, n int) []Action {
	var actions []Action
	for range n - c.On(p) {
		actions = append(actions, Open{Path: p})
	}
	return actions
}

// Working counts the established subflows that have not lost their route.
func (c *Connection) Working() int {
	n := 0
	for i := range c.Subflows {
		if s := &c.Subflows[i]; s.State == Established && !s.Lost {
			n++
		}
	}
	return n
}

// kept counts the subflows that have not lost their route: others are closed once
// one of them stands.
func (c *Connection) kept() int {
	n := 0
	for i := range c.Subflows {
		if !c.Subflows[i].Lost {
			n++
		}
	}
	return n
}

// CloseLost closes the subflows of the initiator for which there is no route
// any more, so that the data on them goes over others at once. Without another
// one that works they stay: their route may come back, and the kernel opens no
// further subflows once a stream has ended.
func (c *Connection) CloseLost() []Action {
	if !c.Initiator {
		return nil // the initiator knows better, and would have to open it again
	}
	works := c.Working() > 0
	var actions []Action
	for i := range c.Subflows {
		if s := &c.Subflows[i]; s.Lost && (works || s.State != Established) {
			actions = append(actions, Close{Subflow: *s, Cause: PathLost})
		}
	}
	return actions
}
