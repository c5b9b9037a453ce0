// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Needs are what a gateway asks of its machine. The zero value asks for
// nothing: every check runs, and none fails.
type Needs struct {
	// MPTCP is needed at some socket.
	MPTCP bool
	// FastOpenClient and FastOpenServer: data in the SYN towards aggregators and
	// from clients.
	FastOpenClient, FastOpenServer bool
	// TProxy and Redirect: traffic of others and of the machine is intercepted.
	TProxy, Redirect bool
	// Transparent: servers see addresses of clients.
	Transparent bool
	// EBPF is needed: subflows are managed by the gateway.
	EBPF bool
	// KernelPaths: the subflows towards aggregators are the kernel's matter, by
	// its list of endpoints.
	KernelPaths bool
	// Joins: clients may open further subflows to this machine.
	Joins bool
	// Connections at once, each with two descriptors.
	Connections int
	// PipeBytes is the size of all pipes that bulk flows are spliced through.
	PipeBytes int
	// Congestion are the names of congestion controls that sockets ask for.
	Congestion []string
	// Clock: something is only right with the right time, in words.
	Clock string
	// Inside are the interfaces of clients: no links to aggregators.
	Inside []string
	// Links are interfaces that are meant to lead to aggregators, beside those
	// of endpoints.
	Links []string
	// Aggregators that must be reached.
	Aggregators []Aggregator
	// Addresses that are to be this machine's.
	Addresses []Addresses
	// Devices that sockets are bound to, or whose traffic is intercepted.
	Devices []Device
	// User that the gateway becomes, and Group of its operators, by name or
	// number; "" is nobody in particular.
	User, Group string
}

// Addresses that one part of the configuration names.
type Addresses struct {
	Of   string // for the row
	List []netip.Addr
	// Routed: they need not be on an interface, if packets to them are
	// delivered to this machine.
	Routed bool
}

// Device is an interface that one part of the configuration names.
type Device struct {
	Name, Of string // the interface, and for the row
	Lost     string // what does not work without it
	MayCome  bool   // it need not be there yet
}

// Aggregator is a server of an upstream.
type Aggregator struct {
	Upstream string // for the rows
	Address  netip.AddrPort
	// Protocol that it speaks.
	Protocol Protocol
	// Mode and FastOpen of connections to it.
	Mode     mptcp.Mode
	FastOpen bool
	// Mark and Device of the sockets.
	Mark   uint32
	Device string
}

// Protocol is what an aggregator speaks.
type Protocol string

// The protocols.
const (
	Convert Protocol = "convert" // RFC 8803
	SOCKS5  Protocol = "socks5"  // RFC 1928
)
