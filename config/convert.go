// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// Policy returns the limits as package policy wants them.
func (l Limits) Policy() policy.LimitsConfig {
	return policy.LimitsConfig{
		Total:       l.Connections,
		PerSource:   l.PerSource.Connections,
		Pending:     l.PerSource.Pending,
		Rate:        l.PerSource.NewPerSecond,
		Burst:       l.PerSource.Burst,
		IPv4Bits:    l.PerSource.IPv4Prefix,
		IPv6Bits:    l.PerSource.IPv6Prefix,
		MaxPrefixes: l.Sources,
	}
}

// Policy returns the rules as package policy wants them.
func (d Destinations) Policy() policy.DestinationsConfig {
	return policy.DestinationsConfig{Allow: d.Allow, Deny: d.Deny, Only: d.Only, AllowPrivate: d.AllowPrivate}
}

// Options returns the options as package mptcp wants them.
func (s Socket) Options() mptcp.SocketOptions {
	o := mptcp.SocketOptions{
		Mark:          s.Mark,
		Device:        s.Device,
		NoDelay:       s.NoDelay,
		Congestion:    s.CongestionControl,
		NotSentLowat:  int(s.NotSentLowWater),
		SendBuffer:    int(s.SendBuffer),
		ReceiveBuffer: int(s.ReceiveBuffer),
	}
	if s.KeepAlive.Idle > 0 {
		o.KeepAlive = mptcp.KeepAlive{Idle: s.KeepAlive.Idle, Interval: s.KeepAlive.Interval, Count: s.KeepAlive.Count}
	}
	return o
}

// ListenOptions returns how the listener listens. IPv6 sockets serve IPv4 as
// well unless IPv6Only is set, whatever the system's default is.
func (l *Listener) ListenOptions() mptcp.ListenOptions {
	o := mptcp.ListenOptions{Mode: l.MPTCP, FastOpen: l.FastOpen, Backlog: l.Backlog, Socket: l.Socket.Options()}
	o.Socket.V6Only = mptcp.V6OnlyNo
	if l.IPv6Only {
		o.Socket.V6Only = mptcp.V6OnlyYes
	}
	return o
}

// ConnectOptions returns how the upstream connects.
func (u *Upstream) ConnectOptions() mptcp.ConnectOptions {
	return mptcp.ConnectOptions{Mode: u.MPTCP, FastOpen: u.FastOpen, Socket: u.Socket.Options()}
}

// nonPublic are the ranges that are not on the public Internet: RFC 6890 and
// its registries, and multicast.
var nonPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/127"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001:2::/48"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/9"),
	netip.MustParsePrefix("ff00::/8"),
}

// Prefixes returns all destinations that are left alone, those that Private
// stands for included.
func (e *Exclude) Prefixes() []netip.Prefix {
	prefixes := slices.Clone(e.Destinations)
	if e.Private {
		prefixes = append(prefixes, nonPublic...)
	}
	return prefixes
}
