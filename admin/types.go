// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/netip"
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
	// HeldJoins counts subflows that peers opened at a bad moment; not there
	// without the eBPF program that sees them.
	HeldJoins *HeldJoins `json:"held_joins,omitempty"`
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

// relayed is the phase of connections whose options can be changed.
const relayed = "relaying"

// Connection is one that has not ended.
type Connection struct {
	// ID names it as long as the process lives, and its successors.
	ID uint64 `json:"id"`
	// Phase is what it waits for or does: handshake, authentication, first-data,
	// resolving, connecting, bind, udp, relaying or closing.
	Phase string `json:"phase"`
	// Listener that accepted it.
	Listener string `json:"listener"`
	// User that the client has shown itself to be.
	User string `json:"user,omitempty"`
	// Policy of the subscriber; not there if the connection is nobody's.
	Policy string `json:"policy,omitempty"`
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
	// Warnings are what is allowed but hardly wanted, and what changes only when
	// the gateway is started again.
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
