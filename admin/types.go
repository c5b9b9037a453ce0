// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// States of a gateway.
const (
	Running  = "running"
	Draining = "draining"
)

// Status is what a gateway is and has done since it was started.
type Status struct {
	// Version of the program.
	Version string `json:"version"`
	// State is running or draining.
	State string `json:"state"`
	// PID is the number of the process.
	PID int `json:"pid"`
	// Started is when the process began to serve.
	Started time.Time `json:"started"`
	// Uptime is how long ago that was.
	Uptime float64 `json:"uptime_seconds"`
	// Kernel is what it and the rights of the process allow.
	Kernel Kernel `json:"kernel"`
	// Listeners are the sockets that accept connections.
	Listeners []Listener `json:"listeners"`
	// Upstreams are the ways to servers.
	Upstreams []Upstream `json:"upstreams"`
	// Connections counts them.
	Connections Counters `json:"connections"`
	// Options count what clients asked for, those that were never asked for left
	// out; see docs/options.md.
	Options []OptionCounter `json:"options,omitempty"`
	// OptionsIgnored are requests in TCP options that were dropped: too many at
	// once, or answers to what was never asked.
	OptionsIgnored uint64 `json:"options_ignored,omitempty"`
	// Networks are the bytes by access network; not there if these are not told
	// apart.
	Networks []NetworkBytes `json:"access_networks,omitempty"`
	// Subscribers counts them; not there where no listener has any.
	Subscribers *SubscriberCounters `json:"subscribers,omitempty"`
	// Paths counts what becomes of subflows; not there where nobody watches them.
	Paths *PathCounters `json:"paths,omitempty"`
}

// Kernel is what the kernel and the rights of the process allow.
type Kernel struct {
	// Release of the kernel.
	Release string `json:"release"`
	// MPTCP is whether connections can use it.
	MPTCP Feature `json:"mptcp"`
	// FastOpen is TCP Fast Open, in both directions.
	FastOpen Feature `json:"fast_open"`
	// EBPF is whether programs could be loaded.
	EBPF Feature `json:"ebpf"`
	// OpenFiles is how many descriptors the process may have; a connection needs
	// two.
	OpenFiles uint64 `json:"open_files"`
}

// Feature is something that is there or not.
type Feature struct {
	// OK is whether it is there.
	OK bool `json:"ok"`
	// Detail says more: if it is not there, why not and what to do about it.
	Detail string `json:"detail"`
}

// Listener is a socket that accepts connections.
type Listener struct {
	// Name of the listener in the configuration.
	Name string `json:"name"`
	// Type of it.
	Type string `json:"type"`
	// Address and port as they came to be.
	Address netip.AddrPort `json:"address"`
	// MPTCP is whether clients may use it.
	MPTCP bool `json:"mptcp"`
	// Reason is why not.
	Reason string `json:"reason,omitempty"`
	// Upstream is where its connections go.
	Upstream string `json:"upstream"`
}

// Upstream is a way to servers.
type Upstream struct {
	// Name of the upstream in the configuration.
	Name string `json:"name"`
	// Type of it.
	Type string `json:"type"`
	// Hops are the converters or proxies that it leads through, best first.
	Hops []Hop `json:"hops,omitempty"`
}

// Hop is a converter or proxy with its health.
type Hop struct {
	// Name of the upstream, and the address.
	Name string `json:"name"`
	// Up is whether clients are sent there.
	Up bool `json:"up"`
	// Since is when that became so.
	Since time.Time `json:"since"`
	// Failures in a row, of checks or clients.
	Failures int `json:"failures"`
	// Checked is when the last check ended; not there before the first one.
	Checked *time.Time `json:"checked,omitempty"`
	// Took is how long that check took.
	Took float64 `json:"check_seconds"`
	// Error is the last failure, even if it is over.
	Error string `json:"error,omitempty"`
}

// Counters count connections since the process was started.
type Counters struct {
	// Accepted on all listeners.
	Accepted uint64 `json:"accepted"`
	// Active are there now.
	Active int64 `json:"active"`
	// Relayed were served, or still are.
	Relayed uint64 `json:"relayed"`
	// ClientMPTCP are those that clients opened with MPTCP.
	ClientMPTCP uint64 `json:"client_mptcp"`
	// Refused were not served, by reason.
	Refused map[string]uint64 `json:"refused"`
	// Fallbacks are legs towards servers without MPTCP though it was asked for,
	// by reason.
	Fallbacks map[string]uint64 `json:"fallbacks"`
	// Up are bytes delivered to servers.
	Up uint64 `json:"bytes_up"`
	// Down are bytes delivered to clients.
	Down uint64 `json:"bytes_down"`
}

// Connection is one that has not ended.
type Connection struct {
	// ID names it as long as the process lives.
	ID uint64 `json:"id"`
	// Phase is what it waits for or does: handshake, authentication, first-data,
	// resolving, connecting, bind, udp, relaying or closing.
	Phase string `json:"phase"`
	// Listener that accepted it.
	Listener string `json:"listener"`
	// User that the client has shown itself to be.
	User string `json:"user,omitempty"`
	// Client is the leg towards it.
	Client Leg `json:"client"`
	// Host is the name that the client asked for, if it asked for one.
	Host string `json:"host,omitempty"`
	// Server is the leg towards it, or towards the hop that leads there; its
	// address is the server's. Not there before it is known.
	Server *Leg `json:"server,omitempty"`
	// Hop is the way to the server.
	Hop string `json:"hop,omitempty"`
	// Started is when it was accepted.
	Started time.Time `json:"started"`
	// Age is how long ago that was.
	Age float64 `json:"age_seconds"`
	// Idle is for how long no byte has been relayed; not there if it is not
	// relayed.
	Idle *float64 `json:"idle_seconds,omitempty"`
	// Up are bytes delivered to the server so far.
	Up uint64 `json:"bytes_up"`
	// Down are bytes delivered to the client so far.
	Down uint64 `json:"bytes_down"`
	// Options are those that somebody chose; not there if nobody did.
	Options *ConnectionOptions `json:"options,omitempty"`
	// AskedOfHop are the options that the hop was asked for; not there for none.
	AskedOfHop *HopOptions `json:"asked_of_hop,omitempty"`
}

// Leg is one of the two sockets of a connection.
type Leg struct {
	// Address and port of the far end.
	Address netip.AddrPort `json:"address"`
	// MPTCP is whether the leg uses it.
	MPTCP bool `json:"mptcp"`
	// Token of the MPTCP connection on this host.
	Token Token `json:"token,omitempty"`
	// Reason is why the leg is plain TCP.
	Reason string `json:"reason,omitempty"`
}

// Token identifies an MPTCP connection on its host (RFC 8684 section 3.1). Its
// text is that of ss and ip mptcp monitor: eight hexadecimal digits.
type Token uint32

// String is the text of a token.
func (t Token) String() string { return fmt.Sprintf("%08x", uint32(t)) }

// MarshalText implements encoding.TextMarshaler.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a token, with or without 0x.
func (t *Token) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(string(b), "0x"), 16, 32)
	if err != nil {
		return fmt.Errorf("%q is no token: want up to eight hexadecimal digits, as ss -M shows them", b)
	}
	*t = Token(n)
	return nil
}

// Connections is a list of them.
type Connections struct {
	// Connections in no particular order.
	Connections []Connection `json:"connections"`
	// More is whether the limit has left some out.
	More bool `json:"more"`
}

// Upgraded tells of a successor.
type Upgraded struct {
	PID      int   `json:"pid"`      // of the process that serves new connections
	Draining int   `json:"draining"` // the process from before
	Active   int64 `json:"active"`   // connections that stay with it
}

// Reloaded tells of a configuration that is in force now.
type Reloaded struct {
	// Listeners that it has.
	Listeners int `json:"listeners"`
	// Upstreams that it has.
	Upstreams int `json:"upstreams"`
	// Warnings are what is allowed but hardly wanted.
	Warnings []string `json:"warnings,omitempty"`
}

// LogLevel is the least serious level that is logged.
type LogLevel struct {
	// Level is debug, info, warn or error.
	Level string `json:"level"`
}

// Drain tells of a gateway that is about to end.
type Drain struct {
	// Active connections that are waited for.
	Active int64 `json:"active"`
	// Until is when those that are left will be ended.
	Until time.Time `json:"until"`
}

// Health says that all is well.
type Health struct {
	// Status is ok.
	Status string `json:"status"`
}

// Explanation says what would happen to a connection that nobody has made.
type Explanation struct {
	// Source is the address of the client.
	Source netip.Addr `json:"source"`
	// Destination that it would want: an address or a name, and a port.
	Destination string `json:"destination"`
	// Listeners that it could come to, in the order of the configuration.
	Listeners []Verdict `json:"listeners"`
}

// Verdict is what one listener would do with a connection.
type Verdict struct {
	// Listener is the name of it.
	Listener string `json:"listener"`
	// Type of it.
	Type string `json:"type"`
	// Outcome is served, refused, passed (not intercepted: it goes where it goes
	// without Tandem), elsewhere (the listener leads to another server only) or
	// depends (on what only a real connection finds out).
	Outcome string `json:"outcome"`
	// Rule that decided.
	Rule string `json:"rule"`
	// Rulings are the decisions, in the order in which they are made; the last
	// one is the refusal, if there is one.
	Rulings []Ruling `json:"rulings"`
}

// Ruling is one decision on a connection.
type Ruling struct {
	// Stage is what was decided: interception, authentication, source, limits,
	// subscriber, name, destination, upstream, connection, option or paths.
	Stage string `json:"stage"`
	// Verdict is passes, notes (worth knowing), refuses or depends.
	Verdict string `json:"verdict"`
	// Rule that says so, in the words of the configuration.
	Rule string `json:"rule"`
	// Detail says more.
	Detail string `json:"detail,omitempty"`
}

// Outcomes of a Verdict.
const (
	Served    = "served"
	Refused   = "refused"
	Passed    = "passed"
	Elsewhere = "elsewhere"
	Depends   = "depends"
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
	// State is waiting, opening, established, closing or closed.
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

// Error is the answer to a request that failed.
type Error struct {
	// Message says what is wrong.
	Message string `json:"error"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`

	// Status is that of HTTP.
	Status int `json:"-"`
}

// Error is the message with the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Hint
}

// ErrDraining is returned by a Gateway that is about to end for what it does
// not do any more.
var ErrDraining = errors.New("tandem is draining")
