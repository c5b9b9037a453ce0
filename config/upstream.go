// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
)

// Upstream is a way to servers.
type Upstream struct {
	// Name that listeners refer to.
	Name string `yaml:"name"`

	// How servers are reached; the section of the same name has the options
	// of the type.
	Type UpstreamType `yaml:"type"`

	// Whether connections use MPTCP. With `require`, one whose peer answers
	// with plain TCP has failed.
	MPTCP mptcp.Mode `yaml:"mptcp"`

	// Sends the first bytes in the SYN where the peer has given a cookie for
	// it (TCP Fast Open, RFC 7413). Bit 1 of net.ipv4.tcp_fastopen must be set
	// too.
	FastOpen bool `yaml:"fast-open"`

	// Options of the sockets towards servers, converters and proxies.
	Socket Socket `yaml:"socket"`

	// The subflows of these connections.
	Paths Paths `yaml:"paths"`

	// What the servers are asked to do on the connections with them. Not for
	// type `direct`.
	Ask *Ask `yaml:"ask,omitempty"`

	// Addresses of the converters or proxies, best first: the next one is used
	// when one is down. Not for type `direct`.
	Servers []netip.AddrPort `yaml:"servers,omitempty"`

	// What to do when none of the servers is up: go to the destination
	// directly, or refuse the client. Not for type `direct`.
	WhenDown WhenDown `yaml:"when-down,omitempty"`

	// How it is found out which servers are up. Not for type `direct`.
	Health *Health `yaml:"health,omitempty"`

	// Options of type `direct`.
	Direct *Direct `yaml:"direct,omitempty"`

	// Options of type `convert`.
	Convert *ConvertClient `yaml:"convert,omitempty"`

	// Options of type `socks5`.
	SOCKS5 *SOCKS5Client `yaml:"socks5,omitempty"`
}

// Health says how it is found out which servers are up. A server is up at
// first. Connections of clients count as checks too.
type Health struct {
	// Time between checks of a server.
	Interval time.Duration `yaml:"interval"`

	// How long a check may take.
	Timeout time.Duration `yaml:"timeout"`

	// Checks in a row that must succeed for a server to be up again.
	Rise int `yaml:"rise"`

	// Checks in a row that must fail for a server to be down.
	Fall int `yaml:"fall"`
}

// Direct are the options of upstreams that connect to the servers themselves.
type Direct struct {
	// The address that servers see: the machine's own, the client's, or one of
	// a pool, always the same for a client. `client` needs CAP_NET_ADMIN, and
	// routes that bring the answers back to this machine.
	Source SourceAddress `yaml:"source"`

	// Addresses for the source `pool`. One that is on no interface needs a
	// route that delivers packets to it here: `ip route add local ADDRESS dev lo`.
	Pool []netip.Addr `yaml:"pool"`

	// Servers to connect to at start from an address of a client, at best one
	// of each family, to see that answers come back to this machine. For the
	// source `client`.
	CheckServers []netip.AddrPort `yaml:"check-servers"`

	// Tells servers the client's address in a PROXY protocol header of
	// version 2. They must expect it.
	ProxyProtocol bool `yaml:"proxy-protocol"`
}

// ConvertClient are the options of upstreams that lead through Transport
// Converters (RFC 8803).
type ConvertClient struct {
	// Connects directly, over MPTCP, to servers that were seen to speak MPTCP
	// themselves.
	BypassMPTCPServers bool `yaml:"bypass-mptcp-servers"`

	// Sends every byte on all paths at once, over one TCP connection each, to a
	// converter that is a Tandem with `redundant` as well; see
	// docs/redundant.md. Connections are ordinary ones where that fails.
	Redundant bool `yaml:"redundant"`

	// Interfaces or source addresses of the paths for `redundant`; if not
	// given, those of `paths.interfaces`, else of the endpoints of the kernel's
	// path manager, else the interfaces with a default route.
	RedundantPaths []string `yaml:"redundant-paths"`
}

// SOCKS5Client are the options of upstreams that lead through SOCKS5 servers.
type SOCKS5Client struct {
	// User name to authenticate with; no authentication if not given.
	User string `yaml:"user,omitempty"`

	// The password in clear; better is `password-file`.
	Password string `yaml:"password,omitempty"`

	// File whose first line is the password. A relative path is relative to
	// the configuration file.
	PasswordFile string `yaml:"password-file,omitempty"`

	// Sends greeting, authentication and request at once, which saves one or
	// two round trips. Tandem understands that, some other servers do not.
	Eager bool `yaml:"eager"`
}
