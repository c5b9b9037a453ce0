// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"
)

// Config is the whole configuration.
type Config struct {
	// What is logged and how.
	Log Log `yaml:"log"`

	// Number of event loops; 0 is one per CPU.
	Workers int `yaml:"workers"`

	// How long connections may go on after the order to stop, before they are
	// ended.
	DrainTimeout time.Duration `yaml:"drain-timeout"`

	// How long connections may stay with the process from before an upgrade.
	UpgradeDrainTimeout time.Duration `yaml:"upgrade-drain-timeout"`

	// What Tandem may do once it is started.
	Rights Rights `yaml:"rights"`

	// How operators see and steer a running Tandem.
	Admin Admin `yaml:"admin"`

	// Who is told what Tandem does.
	Telemetry Telemetry `yaml:"telemetry"`

	// Where records of connections are kept.
	Records Records `yaml:"records"`

	// Who may be served, and what each may do.
	Subscribers Subscribers `yaml:"subscribers"`

	// The networks over which the bytes of clients come and go, to tell apart
	// what each has carried; they are not told apart if not given.
	AccessNetworks []AccessNetwork `yaml:"access-networks,omitempty"`

	// How many connections there may be, over all listeners.
	Limits Limits `yaml:"limits"`

	// Timeouts of all listeners; each may have others of its own.
	Timeouts Timeouts `yaml:"timeouts"`

	// How names are resolved.
	Resolver Resolver `yaml:"resolver"`

	// Where clients come in.
	Listeners []Listener `yaml:"listeners"`

	// The ways to servers, which listeners refer to by name. There is always
	// one named `direct`; it need not be listed unless it is to have options.
	Upstreams []Upstream `yaml:"upstreams"`

	// Warnings are what is allowed but hardly wanted.
	Warnings []Problem `yaml:"-"`
}

// Log says what is logged and how.
type Log struct {
	// The least serious messages that are logged.
	Level LogLevel `yaml:"level"`

	// One line of text, or one JSON object, per message.
	Format LogFormat `yaml:"format"`
}

// Admin is the interface for operators. `tandem status` and other commands use
// it. A reload does not move it.
type Admin struct {
	// Path of the unix socket; "" is none. Its directory is created if there is
	// none. Whoever may write to the socket may do everything.
	Socket string `yaml:"socket"`

	// Group whose members may use the socket, besides the user that Tandem runs
	// as; the group that Tandem runs as if not given.
	Group string `yaml:"group"`

	// Addresses and ports that answer over TCP, with a web page at `/`. Without
	// TLS they have to be loopback addresses, which everybody on this machine may
	// read. None if not given.
	Listen []netip.AddrPort `yaml:"listen"`

	// File whose first line is the token that gives the right to do everything
	// over TCP, at least 16 bytes.
	TokenFile string `yaml:"token-file"`

	// TLS of the addresses that answer over TCP.
	TLS AdminTLS `yaml:"tls"`
}

// Limits say how many connections there may be. Connections beyond them are
// refused, with the fitting code where the protocol has one.
type Limits struct {
	// Connections at once over all listeners; 0 is no limit but that of open
	// files. Each needs two descriptors.
	Connections int `yaml:"connections"`

	// What one source may take.
	PerSource PerSource `yaml:"per-source"`

	// Sources that are remembered at once; connections of further ones are
	// refused as soon as each remembered one has a connection. Each takes
	// about 100 bytes.
	Sources int `yaml:"sources"`
}

// PerSource are the limits of one source: all addresses of one prefix.
type PerSource struct {
	// Connections at once; 0 is no limit.
	Connections int `yaml:"connections"`

	// Connections at once whose clients have not said yet what they want; 0 is no limit.
	Pending int `yaml:"pending"`

	// New connections per second in the long run; 0 is no limit.
	NewPerSecond float64 `yaml:"new-per-second"`

	// New connections at once after a pause; 0 is as many as new-per-second.
	Burst int `yaml:"burst"`

	// Length of the prefix that makes IPv4 addresses one source, in bits.
	IPv4Prefix int `yaml:"ipv4-prefix"`

	// Length of the prefix that makes IPv6 addresses one source, in bits. An
	// access line usually has a /56 (RFC 6177).
	IPv6Prefix int `yaml:"ipv6-prefix"`
}

// Timeouts of the connections of a listener.
type Timeouts struct {
	// From accept until the client has said what it wants.
	Handshake time.Duration `yaml:"handshake"`

	// From then until the server is connected, over all its addresses and all
	// ways to it.
	Connect time.Duration `yaml:"connect"`

	// How long no byte may arrive from either side; TCP keep-alives do not
	// count. 0s is forever.
	Idle time.Duration `yaml:"idle"`

	// The same once one side has ended its stream. 0s is forever.
	HalfClosed time.Duration `yaml:"half-closed"`

	// How long a client that speaks no protocol with Tandem (`tproxy`,
	// `redirect`, `forward`) is waited for to send its first bytes, so that
	// they can travel in the SYN to the next hop. 0s connects at once.
	FirstData time.Duration `yaml:"first-data"`
}

// Resolver says how names are resolved.
type Resolver struct {
	// Name servers to ask instead of those of /etc/resolv.conf, the next one
	// when one does not answer. /etc/hosts is heeded always.
	Servers []NameServer `yaml:"servers"`

	// The family of the first address that is tried (RFC 8305); addresses of
	// the two families take turns after it.
	Prefer Family `yaml:"prefer"`

	// How long one lookup may take, with all its servers.
	Timeout time.Duration `yaml:"timeout"`
}

// Socket are options of TCP sockets; see socket(7) and tcp(7).
type Socket struct {
	// Firewall mark of the packets that are sent (SO_MARK), for routing rules;
	// 0 is none. Needs CAP_NET_ADMIN or CAP_NET_RAW.
	Mark uint32 `yaml:"mark"`

	// Network interface to be bound to (SO_BINDTODEVICE); all if not given.
	Device string `yaml:"device"`

	// Sends small segments without waiting for acknowledgements of earlier
	// ones (TCP_NODELAY).
	NoDelay bool `yaml:"no-delay"`

	// When the kernel probes a silent peer.
	KeepAlive KeepAlive `yaml:"keep-alive"`

	// Congestion control of all subflows (TCP_CONGESTION), one of
	// net.ipv4.tcp_available_congestion_control; the system's if not given.
	CongestionControl string `yaml:"congestion-control"`

	// Unsent bytes in the socket beyond which it takes no more
	// (TCP_NOTSENT_LOWAT); 0 is the system's value.
	NotSentLowWater Size `yaml:"not-sent-low-water"`

	// Size of the send buffer (SO_SNDBUF); 0 lets the kernel tune it, which is
	// nearly always better.
	SendBuffer Size `yaml:"send-buffer"`

	// Size of the receive buffer (SO_RCVBUF); 0 lets the kernel tune it, which
	// is nearly always better.
	ReceiveBuffer Size `yaml:"receive-buffer"`
}

// KeepAlive says when the kernel probes a silent peer, in whole seconds.
type KeepAlive struct {
	// Silence before the first probe; 0s switches keep-alive off.
	Idle time.Duration `yaml:"idle"`

	// Time between probes.
	Interval time.Duration `yaml:"interval"`

	// Probes without an answer that end the connection.
	Count int `yaml:"count"`
}
