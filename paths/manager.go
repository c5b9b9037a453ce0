// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"net/netip"
	"time"
)

// Manager decides on the subflows of connections. Each method is told an event
// of a connection and returns what to do about it, nil for nothing. Methods
// have to be pure, because one Manager serves many connections, and to look at
// what exists rather than to count events, because the kernel may have lost
// some: embed Base, and define the methods that matter.
//
// An Open that cannot be carried out, or is not answered by the peer, comes
// back as SubflowClosed. To ask for the same again is right: the engine waits
// longer each time.
type Manager interface {
	// Established: the connection may have more subflows from now on.
	Established(*Connection) []Action
	// SubflowOpened: a subflow has come to be, the first one excepted.
	SubflowOpened(*Connection, Subflow) []Action
	// SubflowClosed: a subflow has ended, or could not be opened. It is not
	// among Connection.Subflows any more.
	SubflowClosed(*Connection, Subflow) []Action
	// PathsChanged: an address of either end, a link or a route has come or
	// gone. Connection.Paths is new.
	PathsChanged(*Connection) []Action
	// Due: a time or number of bytes is reached that Wake or Watch asked for.
	// It may be told early, and more than once.
	Due(*Connection) []Action
}

// Base does nothing about any event.
type Base struct{}

// Established does nothing.
func (Base) Established(*Connection) []Action { return nil }

// SubflowOpened does nothing.
func (Base) SubflowOpened(*Connection, Subflow) []Action { return nil }

// SubflowClosed does nothing.
func (Base) SubflowClosed(*Connection, Subflow) []Action { return nil }

// PathsChanged does nothing.
func (Base) PathsChanged(*Connection) []Action { return nil }

// Due does nothing.
func (Base) Due(*Connection) []Action { return nil }

// Action is what a Manager wants: one of the types below.
type Action interface{ action() }

// Open asks for a subflow. It waits its turn if the engine's limits or the
// back-off after failures on the path require it.
type Open struct {
	Path
	Backup bool
}

// Close closes a subflow, or takes back an Open that waits.
type Close struct {
	Subflow
	Cause Cause
}

// SetBackup makes a subflow a backup for both ends, or no backup.
type SetBackup struct {
	Subflow
	Backup bool
}

// Announce tells the peer of an address of this end, once (ADD_ADDR, RFC 8684
// section 3.4.1). With port 0 it is that of the first subflow.
type Announce struct{ Addr netip.AddrPort }

// Withdraw takes an announcement back (REMOVE_ADDR, RFC 8684 section 3.4.2).
type Withdraw struct{ Addr netip.AddrPort }

// Wake asks for Due after a time.
type Wake struct{ After time.Duration }

// Watch asks for Due when Connection.Bytes reaches a number.
type Watch struct{ Bytes uint64 }

func (Open) action()      {}
func (Close) action()     {}
func (SetBackup) action() {}
func (Announce) action()  {}
func (Withdraw) action()  {}
func (Wake) action()      {}
func (Watch) action()     {}
