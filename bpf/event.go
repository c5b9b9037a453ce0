// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// Kind is what an Event tells.
type Kind uint8

// The kinds of events.
const (
	// Gap: events were lost before this one. What is known of connections may
	// be wrong and has to be asked of the kernel again.
	Gap Kind = 0
	// Established: a connection, with its first subflow. Connections that are
	// plain TCP because the peer has no MPTCP are not reported.
	Established = Kind(eventsKindESTABLISHED)
	// Joined: another subflow of a connection.
	Joined = Kind(eventsKindJOINED)
	// JoinFailed: a subflow that this end tried to open did not come to be.
	JoinFailed = Kind(eventsKindJOIN_FAILED)
	// SubflowClosed: an established subflow has ended, the first one included.
	SubflowClosed = Kind(eventsKindSUBFLOW_CLOSED)
	// RTTCrossed: the smoothed RTT of a subflow has risen above the limit of
	// its Watch, or fallen an eighth below it.
	RTTCrossed = Kind(eventsKindRTT_CROSSED)
	// BytesReached: a connection has moved as many bytes as its Watch says.
	BytesReached = Kind(eventsKindBYTES_REACHED)
	// Closed: a connection has ended. That of its subflows may be told after
	// it. Also told of connections that fell back to plain TCP.
	Closed = Kind(eventsKindCLOSED)
)

var kindNames = [...]string{"gap", "established", "joined", "join failed", "subflow closed", "RTT crossed", "bytes reached", "closed"}

// String is for logs.
func (k Kind) String() string { return name(kindNames[:], int(k)) }

// Reason is why a subflow ended.
type Reason uint8

// The reasons.
const (
	NoReason      Reason = 0
	FIN                  = Reason(eventsReasonFIN)            // in both directions
	ResetReceived        = Reason(eventsReasonRESET_RECEIVED) // or connection refused
	ResetSent            = Reason(eventsReasonRESET_SENT)     // by this end, for any cause
	Timeout              = Reason(eventsReasonTIMEOUT)        // no answer, or unreachable
)

var reasonNames = [...]string{"none", "FIN", "reset received", "reset sent", "timeout"}

// String is for logs.
func (r Reason) String() string { return name(reasonNames[:], int(r)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

// Event is something that happened to an MPTCP connection of this process.
type Event struct {
	Kind Kind
	Time time.Duration // when, by CLOCK_MONOTONIC
	// Lost is how many events are missing, for Gap; the rest is zero then.
	Lost uint64
	// Token is the connection's local one (mptcp.Info.Token).
	Token uint32

	// The rest is about a subflow; zero for Closed.

	// Subflow is its number (mptcp.Subflow.ID): 1 is the connection's first. It is
	// 0 before Linux 6.5, and for a Joined that the peer opened while a system call
	// held the connection: the kernel numbers such a one when that ends.
	Subflow            uint32
	Passive            bool  // opened by the peer, for Established and Joined
	Backup             bool  // as the peer or this end asked for
	LocalID            int16 // address identifiers (RFC 8684 section 3.2); -1 is none yet
	RemoteID           uint8
	Local, Remote      netip.AddrPort
	Above              bool          // in which direction, for RTTCrossed
	Reason             Reason        // for JoinFailed and SubflowClosed
	Error              syscall.Errno // of the socket then; 0 is none
	SRTT               time.Duration // smoothed
	BytesSent          uint64        // without retransmissions
	BytesRetransmitted uint64
	BytesAcked         uint64
	BytesReceived      uint64
}

// set fills e with what the program wrote.
func (e *Event) set(raw *eventsEvent) {
	*e = Event{
		Kind:  Kind(raw.Kind),
		Time:  time.Duration(raw.Time),
		Token: raw.Token,
	}
	if e.Kind == Closed {
		return
	}
	e.Subflow = raw.Subflow
	e.Passive = raw.Passive != 0
	e.Backup = raw.Backup != 0
	e.LocalID = raw.LocalId
	e.RemoteID = raw.RemoteId
	e.Local = addrPort(raw.Local.In6U.U6Addr8, raw.LocalPort)
	e.Remote = addrPort(raw.Remote.In6U.U6Addr8, raw.RemotePort)
	e.Above = raw.Above != 0
	e.Reason = Reason(raw.Reason)
	e.Error = syscall.Errno(raw.Error)
	e.SRTT = time.Duration(raw.SrttUs) * time.Microsecond
	e.BytesSent = raw.BytesSent
	e.BytesRetransmitted = raw.BytesRetransmitted
	e.BytesAcked = raw.BytesAcked
	e.BytesReceived = raw.BytesReceived
}

func addrPort(a [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
}
