// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/netip"
	"time"
)

// PathList is a list of MPTCP connections with their subflows.
type PathList struct {
	// Connections in no particular order.
	Connections []Paths `json:"connections"`
}

// Paths are the subflows of an MPTCP connection.
type Paths struct {
	// Token of the connection, as that of a Leg.
	Token Token `json:"token"`
	// Initiator is whether this end opened the connection.
	Initiator bool `json:"initiator"`
	// Manager that decides on its subflows.
	Manager string `json:"manager"`
	// Begun is when the connection came to be.
	Begun time.Time `json:"begun"`
	// Lost is since when it has no subflow; not there if it has some.
	Lost *time.Time `json:"lost,omitempty"`
	// LostBy is why the last one ended.
	LostBy string `json:"lost_by,omitempty"`
	// Subflows that exist, are waited for or are being closed.
	Subflows []Subflow `json:"subflows"`
	// Past are the last ones that ended, oldest first.
	Past []Subflow `json:"past"`
}

// Subflow is one TCP connection of an MPTCP connection.
type Subflow struct {
	// Local address and port; port 0 until it is established.
	Local netip.AddrPort `json:"local"`
	// Remote address and port.
	Remote netip.AddrPort `json:"remote"`
	// Interface that has the local address.
	Interface string `json:"interface,omitempty"`
	// Network is the access network that it goes over; not there if these are not
	// told apart.
	Network string `json:"access_network,omitempty"`
	// State is waiting, opening, established, closing, closed or withheld.
	State string `json:"state"`
	// Since is when it came into this state; not there if nobody watched.
	Since *time.Time `json:"since,omitempty"`
	// Backup is whether data goes over it only while there is no other.
	Backup bool `json:"backup"`
	// Passive is whether the peer opened it.
	Passive bool `json:"passive"`
	// Opened is why it was opened.
	Opened string `json:"opened"`
	// Closed is why it was closed.
	Closed string `json:"closed,omitempty"`
	// Error of its socket, or the kernel's answer to a request for it.
	Error string `json:"error,omitempty"`
	// RTT is the smoothed round-trip time.
	RTT float64 `json:"rtt_seconds"`
	// Sent are bytes, without retransmissions.
	Sent uint64 `json:"bytes_sent"`
	// Received are bytes.
	Received uint64 `json:"bytes_received"`
}

// HeldJoins counts subflows that peers opened while a system call held the
// connection, since the process was started.
type HeldJoins struct {
	// Held are all of them: their data was held back until the call ended.
	Held uint64 `json:"held"`
	// GivenUp are those of them on which more came than can wait.
	GivenUp uint64 `json:"given_up"`
}

// PathCounters count what became of the subflows of MPTCP connections since
// Tandem began to watch them.
type PathCounters struct {
	// Managed is whether path managers of Tandem decide on the subflows of new
	// connections; else the kernel's does, and Tandem watches.
	Managed bool `json:"managed"`
	// Connections that are watched now.
	Connections int `json:"connections"`
	// Subflowless of them have no subflow.
	Subflowless int `json:"subflowless"`
	// Opened subflows, by why.
	Opened map[string]uint64 `json:"opened"`
	// Failed attempts to open one, by how.
	Failed map[string]uint64 `json:"failed"`
	// Closed are subflows that were established, by why they ended.
	Closed map[string]uint64 `json:"closed"`
	// Healed are those of Opened that restored one that was lost, by how that was.
	Healed map[string]uint64 `json:"healed"`
	// Refused are commands to the kernel, by the error that it answered.
	Refused map[string]uint64 `json:"refused"`
	// OverLimit are openings that were dropped because the connection had as many
	// subflows as max-subflows allows.
	OverLimit uint64 `json:"over_limit"`
	// Delayed is how often openings had to wait for a limit per second.
	Delayed uint64 `json:"delayed"`
	// Announced are addresses that peers were told of.
	Announced uint64 `json:"announced"`
	// Expired are connections that had no subflow for as long as keep says.
	Expired uint64 `json:"expired"`
	// Events of the kernel that were taken.
	Events uint64 `json:"events"`
	// LostEvents did not fit, as far as their number is known.
	LostEvents uint64 `json:"lost_events"`
	// Gaps is how often events were lost.
	Gaps uint64 `json:"gaps"`
	// Repairs is how often the kernel was asked for all subflows.
	Repairs uint64 `json:"repairs"`
	// Repaired are subflows about which it said something else than was known.
	Repaired uint64 `json:"repaired"`
}

// PathEvent is something that happened to an MPTCP connection.
type PathEvent struct {
	// Time at which it was noticed.
	Time time.Time `json:"time"`
	// Event is opened, failed or closed (a subflow), priority (the peer made a
	// subflow a backup, or no backup), announced or removed (an address of the
	// peer), or expired (the connection was without subflows for too long).
	Event string `json:"event"`
	// Token of the connection, as that of a Leg.
	Token Token `json:"token"`
	// Subflow that it is about, if it is about one.
	Subflow *Subflow `json:"subflow,omitempty"`
	// Remote address that was announced or removed.
	Remote *netip.AddrPort `json:"remote,omitempty"`
	// Cause of the end of the last subflow, of a connection that expired.
	Cause string `json:"cause,omitempty"`
	// Missed are events before this one that were not read fast enough.
	Missed uint64 `json:"missed,omitempty"`
}
