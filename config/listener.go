// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// Listener is where clients come in.
type Listener struct {
	// Name for logs, metrics and error messages.
	Name string `yaml:"name"`

	// What clients speak; the section of the same name has the options of
	// the type.
	Type ListenerType `yaml:"type"`

	// Addresses and ports to listen on. Port 0 lets the kernel choose one.
	// Types `tproxy` and `redirect` take one address of each family; loopback
	// addresses are best, because only intercepted traffic can reach them.
	Listen []netip.AddrPort `yaml:"listen"`

	// Whether clients may use MPTCP. Clients without it are served all the
	// same, unless it is `require`.
	MPTCP mptcp.Mode `yaml:"mptcp"`

	// Connections with data in their SYN that may wait for the end of their
	// handshake (TCP Fast Open, RFC 7413); 0 is no Fast Open. Bit 2 of
	// net.ipv4.tcp_fastopen must be set too.
	FastOpen int `yaml:"fast-open"`

	// Connections that may wait to be accepted; 0 is as many as
	// net.core.somaxconn allows.
	Backlog int `yaml:"backlog"`

	// Keeps sockets that listen on IPv6 addresses from serving IPv4 clients.
	IPv6Only bool `yaml:"ipv6-only"`

	// Options of the sockets of clients.
	Socket Socket `yaml:"socket"`

	// Prefixes whose hosts may use the listener. Required unless it listens on
	// loopback addresses only, where the machine itself is the default. Types
	// `tproxy` and `redirect` serve whom they intercept by default.
	AllowFrom []netip.Prefix `yaml:"allow-from"`

	// Whether connections are subscribers': `required` refuses those that are
	// nobody's, `optional` serves them without a policy. SOCKS5 clients have to
	// give name and password if it is `required`.
	Subscribers Membership `yaml:"subscribers"`

	// The subflows of connections with clients.
	Paths Paths `yaml:"paths"`

	// Options of the connections of clients, on both legs.
	Options ListenerOptions `yaml:"options"`

	// Name of the upstream that connections go to.
	Upstream string `yaml:"upstream"`

	// Timeouts of this listener; those not given are the ones of all
	// listeners.
	Timeouts Timeouts `yaml:"timeouts"`

	// Where clients may go. Not for type `forward`, where they can only go to its
	// target.
	Destinations Destinations `yaml:"destinations,omitempty"`

	// Options of type `socks5`.
	SOCKS5 *SOCKS5Server `yaml:"socks5,omitempty"`

	// Options of type `convert`.
	Convert *ConvertServer `yaml:"convert,omitempty"`

	// Options of type `tproxy`.
	TProxy *TProxy `yaml:"tproxy,omitempty"`

	// Options of type `redirect`.
	Redirect *Redirect `yaml:"redirect,omitempty"`

	// Options of type `forward`.
	Forward *Forward `yaml:"forward,omitempty"`
}

// Destinations say where clients may go. Private, loopback, link-local and
// multicast addresses, those of cloud metadata and the machine's own are denied
// unless a rule allows them.
type Destinations struct {
	// Destinations that are allowed though they would be denied by default:
	// a prefix or address, with `ports` where not all ports are meant.
	Allow []policy.Rule `yaml:"allow"`

	// Destinations that are denied; these beat those allowed.
	Deny []policy.Rule `yaml:"deny"`

	// Denies whatever `allow` does not name.
	Only bool `yaml:"only"`

	// Opens the private address ranges. Loopback, link-local, multicast, cloud
	// metadata and the machine's own addresses stay denied.
	AllowPrivate bool `yaml:"allow-private"`
}

// SOCKS5Server are the options of SOCKS5 listeners (RFC 1928, RFC 1929).
type SOCKS5Server struct {
	// Who may use it, where that is all there is to know of them; else see
	// `subscribers`. Without either there is no authentication.
	Users []User `yaml:"users"`

	// Offers the command BIND: to wait for one connection from outside.
	Bind bool `yaml:"bind"`

	// How long BIND waits for that connection.
	BindTimeout time.Duration `yaml:"bind-timeout"`

	// Offers the command UDP ASSOCIATE. Datagrams take one path, as ever.
	UDP bool `yaml:"udp"`

	// How long a UDP association may go unused.
	UDPIdle time.Duration `yaml:"udp-idle"`
}

// User is somebody who may use a SOCKS5 listener. Exactly one of the passwords
// is given.
type User struct {
	// User name, of at most 255 bytes and without `;`.
	Name string `yaml:"name"`

	// The password in clear; better is one of the other two.
	Password string `yaml:"password,omitempty"`

	// File whose first line is the password. A relative path is relative to
	// the configuration file.
	PasswordFile string `yaml:"password-file,omitempty"`

	// Argon2id hash of the password, as the command `tandem hash-password`
	// prints it.
	PasswordHash string `yaml:"password-hash,omitempty"`
}

// ConvertServer are the options of Transport Converters (RFC 8803).
type ConvertServer struct {
	// Whether clients must prove their address with a cookie (RFC 8803
	// section 6.2.7), which costs them one round trip, once.
	Cookies CookiePolicy `yaml:"cookies"`

	// File with the secret that cookies are made with, for converters that
	// share an address; without it each start of Tandem makes a new secret. A
	// relative path is relative to the configuration file.
	CookieKeyFile string `yaml:"cookie-key-file,omitempty"`

	// How long a cookie is valid, at least; at most twice as long.
	CookieLifetime time.Duration `yaml:"cookie-lifetime"`

	// Accepts loopback targets, which RFC 8803 forbids: for tests. Destination
	// rules must allow them as well.
	AllowLoopback bool `yaml:"allow-loopback"`

	// Tells clients the TCP options that servers answered with (Extended TCP
	// Header). Needs eBPF; it is left out where there is none.
	ExtendedHeader bool `yaml:"extended-header"`

	// Accepts connections that are carried several times, over TCP connections
	// on different paths, for upstreams with `redundant`; see
	// docs/redundant.md.
	Redundant bool `yaml:"redundant"`
}

// TProxy are the options of listeners that get the traffic forwarded by this
// machine (TPROXY). Tandem makes the firewall and routing rules for it, and
// removes them when it stops.
type TProxy struct {
	// Network interfaces whose incoming traffic is intercepted; all if not
	// given, but then sources must be. They need not exist yet.
	Interfaces []string `yaml:"interfaces"`

	// Prefixes of clients whose traffic is intercepted; all if not given, but
	// then interfaces must be.
	Sources []netip.Prefix `yaml:"sources"`

	// Destination ports that are intercepted; all if not given.
	Ports []policy.PortRange `yaml:"ports"`

	// What is left alone.
	Exclude Exclude `yaml:"exclude"`

	// Rejects UDP to port 443, so that browsers use TCP instead of QUIC, which
	// cannot use several paths.
	RejectQUIC bool `yaml:"reject-quic"`

	// Firewall mark of intercepted packets, for the routing rule. It lies
	// within mask.
	Mark uint32 `yaml:"mark"`

	// Bits of the firewall mark that are Tandem's; the others are left as they
	// are.
	Mask uint32 `yaml:"mask"`

	// Routing table that delivers intercepted packets to this machine.
	Table uint32 `yaml:"table"`

	// Priority of the routing rule that leads to it.
	Priority uint32 `yaml:"priority"`
}

// Redirect are the options of listeners that get the machine's own traffic.
// Tandem makes the firewall rules for it, and removes them when it stops.
type Redirect struct {
	// Destination ports that are intercepted; all if not given.
	Ports []policy.PortRange `yaml:"ports"`

	// What is left alone. Tandem's own traffic always is.
	Exclude Exclude `yaml:"exclude"`

	// Rejects UDP to port 443, so that programs use TCP instead of QUIC, which
	// cannot use several paths.
	RejectQUIC bool `yaml:"reject-quic"`
}

// Exclude says which traffic is not intercepted. It goes where it would go
// without Tandem.
type Exclude struct {
	// Leaves private and shared address space alone. This machine's own
	// addresses, loopback, link-local and multicast ones always are.
	Private bool `yaml:"private"`

	// Destinations that are left alone.
	Destinations []netip.Prefix `yaml:"destinations,omitempty"`

	// Destination ports that are left alone.
	Ports []policy.PortRange `yaml:"ports"`

	// DSCP marks that are left alone: numbers, or names such as `ef`.
	DSCP []DSCP `yaml:"dscp"`

	// Link-layer addresses of clients that are left alone; for `tproxy` only.
	MACs []MAC `yaml:"macs"`
}

// Forward are the options of listeners that lead to one fixed server.
type Forward struct {
	// The server: an address or a name, which is resolved for each connection,
	// and a port.
	Target Target `yaml:"target"`
}
