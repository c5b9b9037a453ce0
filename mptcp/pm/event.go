// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Event is what happened to a connection of the network namespace, or to its
// listeners: one of the types below, for a type switch. New kernels may have
// more kinds; those are left out.
type Event interface{ event() }

// Connection identifies a connection by its token (see mptcp.Status) and tells
// how it began.
type Connection struct {
	Token         uint32
	Local, Remote netip.AddrPort // of the first subflow, IPv4-mapped ones unmapped
	// ServerSide: the peer opened the connection. Linux 5.19 is needed.
	ServerSide bool
	// DenyJoinID0: the peer does not take joins to the address of the first
	// subflow, only to announced ones (flag C of RFC 8684 section 3.1).
	DenyJoinID0 bool
}

// Path identifies one subflow of a connection.
type Path struct {
	Token             uint32
	LocalID, RemoteID uint8 // of its addresses
	Local, Remote     netip.AddrPort
	// Backup: the peer asked not to be sent data on it while others live.
	Backup bool
	// IfIndex is the interface that the subflow is bound to, 0 for none.
	IfIndex int
}

// Created: the first handshake of a connection has taken place. Subflows cannot
// be opened yet.
type Created struct{ Connection }

// Established: the connection can take more subflows. A server learns that with
// the first data.
type Established struct{ Connection }

// Closed: the connection has ended.
type Closed struct{ Token uint32 }

// Announced: the peer has another address (ADD_ADDR, RFC 8684 section 3.4.1).
type Announced struct {
	Token uint32
	ID    uint8
	Addr  netip.AddrPort // with the port to connect to
}

// Removed: the peer has withdrawn an address (REMOVE_ADDR, RFC 8684 section
// 3.4.2).
type Removed struct {
	Token uint32
	ID    uint8
}

// SubflowEstablished: a subflow other than the first one has come to be. The
// side that opened it hears so before the peer has checked its part of the
// handshake: SubflowClosed follows at once if the peer takes no more subflows.
type SubflowEstablished struct{ Path }

// SubflowClosed: a subflow has ended while the connection may live on.
type SubflowClosed struct {
	Path
	// Err is why, as the error of its socket: ECONNREFUSED, ECONNRESET,
	// ETIMEDOUT; 0 if it ended well, with the connection, or in the middle of
	// the peer's handshake.
	Err unix.Errno
	// Reset is what the peer said when it reset the subflow; nil if it said
	// nothing, or the kernel did not keep it.
	Reset *Reset
}

// SubflowPriority: the peer has changed whether a subflow is a backup.
type SubflowPriority struct{ Path }

// ListenerCreated: an MPTCP socket listens. Linux 6.2 is needed.
type ListenerCreated struct{ Local netip.AddrPort }

// ListenerClosed: an MPTCP socket has stopped listening. Linux 6.2 is needed.
type ListenerClosed struct{ Local netip.AddrPort }

// Gap: events have been lost here, because they were not taken as fast as they
// came. What was known of any connection may be wrong, and what the kernel is
// asked now is newer than all events before.
type Gap struct{}

func (Created) event()            {}
func (Established) event()        {}
func (Closed) event()             {}
func (Announced) event()          {}
func (Removed) event()            {}
func (SubflowEstablished) event() {}
func (SubflowClosed) event()      {}
func (SubflowPriority) event()    {}
func (ListenerCreated) event()    {}
func (ListenerClosed) event()     {}
func (Gap) event()                {}

// Reset is the content of an MP_TCPRST option (RFC 8684 section 3.6).
type Reset struct {
	Reason ResetReason
	// Transient: opening the subflow again may work.
	Transient bool
}

// ResetReason is a reason code of RFC 8684 section 3.6.
type ResetReason uint32

// The reasons.
const (
	ResetUnspecified ResetReason = iota
	ResetMPTCPSpecific
	ResetLackOfResources
	ResetProhibited
	ResetTooMuchOutstandingData
	ResetUnacceptablePerformance
	ResetMiddlebox
)

var resetNames = [...]string{"unspecified", "MPTCP-specific error", "lack of resources",
	"administratively prohibited", "too much outstanding data", "unacceptable performance",
	"middlebox interference"}

// String returns the reason in the words of the RFC.
func (r ResetReason) String() string {
	if int64(r) < int64(len(resetNames)) {
		return resetNames[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}
