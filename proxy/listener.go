// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/paths"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/relay"
	"github.com/tandem-gateway/tandem/subscribers"
)

// Timeouts of the connections of a listener. Zero means none, which only
// makes sense for the relay's.
type Timeouts struct {
	Handshake time.Duration // from accept until the request is known
	Connect   time.Duration // from the request until the server is connected
	Relay     relay.Timeouts
	Bind      time.Duration // until the peer of BIND has come; 0 = Connect
	Associate time.Duration // without datagrams of UDP ASSOCIATE; 0 = Relay.Idle
}

// Listener is what one configured listener does with its connections. It is
// not changed once it is given to a Server; a reload replaces it.
type Listener struct {
	Name      string
	Addresses []netip.AddrPort
	Socket    mptcp.ListenOptions
	// Require refuses clients that did not negotiate MPTCP.
	Require bool

	FrontEnd     FrontEnd
	Upstream     Upstream
	Sources      *policy.Sources
	Destinations *policy.Destinations // nil: everywhere
	Timeouts     Timeouts
	// Subscribers knows whose connections are whose; nil: they are nobody's.
	// Those that are nobody's are refused if SubscribersOnly.
	Subscribers     *subscribers.Registry
	SubscribersOnly bool
	// Options is who may choose options of connections. They apply to both
	// legs.
	Options options.Policy
	// ClientPaths and ServerPaths are how the subflows of MPTCP connections
	// with clients and with servers or hops are managed; nil: not by us.
	ClientPaths, ServerPaths *paths.Policy
	// FirstDataWait is how long a client whose request needs no bytes (an
	// intercepted connection) is given to send its first ones, so that they
	// can ride in the SYN of the next leg.
	FirstDataWait time.Duration
}
