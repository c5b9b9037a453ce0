// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
)

// Record is what is kept of a connection when it has ended.
type Record struct {
	Listener    string
	Client      netip.AddrPort
	ClientMPTCP mptcp.Status
	User        string
	Host        string         // the name that was asked for, if one was
	Server      netip.AddrPort // the address connected to, or asked of the hop; none for Associate, which has many
	Hop         string
	ServerMPTCP mptcp.Status   // zero if there was no connection
	Local       netip.AddrPort // the address that the server or hop saw; only with Server.KeepLocal
	Also        netip.AddrPort // likewise, of an Associate that has sent to servers of both families
	Command     Command
	Served      bool   // the client got what it asked for
	Refused     Reason // why not, unless it was served
	Start       time.Time
	Moments
	Options   *options.Grants // nil if nobody chose any
	HopChoice *HopChoice      // nil if nothing was asked of the hop
	Duration  time.Duration
	Up, Down  uint64 // bytes delivered to the server and to the client
	// Networks are the bytes by access network, if these are told apart.
	Networks []NetworkBytes
	Err      error // why it ended; nil when both streams had ended
}

// Moments are when a connection went from one step to the next, since its
// start; 0 = never.
type Moments struct {
	Authorising time.Duration // whether to serve the client began to be found out
	Requested   time.Duration // the client had said what it wants
	Resolving   time.Duration // the name began to be looked up
	Dialling    time.Duration // the first hop began to be connected to
	Connected   time.Duration // the client was served
	HalfClosed  time.Duration // the end of one stream was passed on
}

// Recorder takes the records of ended connections. It is called on event
// loops and must neither block nor keep the record, which is used again.
type Recorder interface {
	Record(*Record)
}
