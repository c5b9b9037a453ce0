// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
)

// Every default is in this file: what a value is before the file is looked at.
// A field that is not mentioned is meant to be empty.

// DirectUpstream is the name of the upstream that is always there.
const DirectUpstream = "direct"

// AdminSocket is where operators find a running Tandem unless it is told to be
// elsewhere.
const AdminSocket = "/run/tandem/tandem.sock"

func defaults() *Config {
	return &Config{
		Log:                 Log{Level: LogInfo, Format: LogText},
		DrainTimeout:        30 * time.Second,
		UpgradeDrainTimeout: 24 * time.Hour,
		Rights:              Rights{Sandbox: true},
		Admin:               Admin{Socket: AdminSocket},
		Telemetry:           Telemetry{OTLP: OTLP{Interval: 15 * time.Second, Timeout: 10 * time.Second}},
		Records: Records{
			File:  RecordFile{MaxSize: 100e6, MaxAge: 24 * time.Hour, Keep: 7},
			IPFIX: IPFIX{Transport: TransportUDP, Templates: 10 * time.Minute},
			Room:  16384,
		},
		Subscribers: Subscribers{
			Linger: time.Minute, QuotaFlush: 10 * time.Second,
			RADIUS: RADIUS{
				Timeout: 2 * time.Second, Tries: 3, DeadTime: 20 * time.Second, Identifier: "tandem", WhenAway: AwayRefuse,
				Cache:      RADIUSCache{Time: 5 * time.Minute, Negative: 10 * time.Second, Size: 16384},
				Accounting: RADIUSAccounting{Interim: 10 * time.Minute, Room: 8192},
			},
		},
		Limits: Limits{
			Connections: 20000,
			Sources:     policy.DefaultMaxPrefixes,
			PerSource: PerSource{
				Pending:    1024,
				IPv4Prefix: policy.DefaultIPv4Bits,
				IPv6Prefix: policy.DefaultIPv6Bits,
			},
		},
		Timeouts: Timeouts{
			Handshake:  10 * time.Second,
			Connect:    15 * time.Second,
			Idle:       2 * time.Hour,
			HalfClosed: 5 * time.Minute,
			FirstData:  50 * time.Millisecond,
		},
		Resolver: Resolver{Prefer: IPv6, Timeout: 5 * time.Second},
	}
}

// setDefaults gives a listener of a type its defaults.
func (l *Listener) setDefaults(t string, root *Config) {
	*l = Listener{
		MPTCP:    mptcp.ModePrefer,
		FastOpen: 256,
		Socket: Socket{
			NoDelay: true,
			// Options of a listener are inherited by what it accepts and so
			// cost nothing per connection.
			KeepAlive: KeepAlive{Idle: 10 * time.Minute, Interval: time.Minute, Count: 5},
		},
		Upstream:    DirectUpstream,
		Subscribers: MembersOff,
		Timeouts:    root.Timeouts,
		Paths:       defaultPaths(),
	}
	switch ListenerType(t) {
	case ListenSOCKS5:
		l.SOCKS5 = &SOCKS5Server{BindTimeout: 3 * time.Minute, UDP: true, UDPIdle: 5 * time.Minute}
	case ListenConvert:
		l.Convert = &ConvertServer{Cookies: CookiesOff, CookieLifetime: 24 * time.Hour, ExtendedHeader: true}
	case ListenTProxy:
		l.TProxy = &TProxy{
			Exclude: Exclude{Private: true},
			// Numbers that others are unlikely to use: "Ta" in ASCII.
			Mark: 0x5461, Mask: 0xffffffff, Table: 0x5461, Priority: 0x5461,
		}
	case ListenRedirect:
		l.Redirect = &Redirect{Exclude: Exclude{Private: true}}
	case ListenForward:
		l.Forward = &Forward{}
	}
}

// setDefaults gives an upstream of a type its defaults.
func (u *Upstream) setDefaults(t string, _ *Config) {
	*u = Upstream{
		Socket: Socket{NoDelay: true, KeepAlive: KeepAlive{Interval: time.Minute, Count: 5}},
		Paths:  defaultPaths(),
	}
	switch UpstreamType(t) {
	case UpstreamDirect:
		// The leg to a server stays plain TCP unless the server is known to
		// speak MPTCP: asking in vain costs more than it can bring.
		u.MPTCP = mptcp.ModeOff
		u.Direct = &Direct{Source: SourceOwn}
		return
	case UpstreamConvert:
		u.Convert = &ConvertClient{}
	case UpstreamSOCKS5:
		u.SOCKS5 = &SOCKS5Client{}
	default:
		return
	}
	u.MPTCP, u.FastOpen = mptcp.ModePrefer, true
	u.Ask = &Ask{By: AskByRequest}
	u.Health = &Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}
}

func defaultPaths() Paths {
	return Paths{Manager: PathsKernel, Subflows: 2, MaxSubflows: 8, OpensPerSecond: 10, Keep: time.Minute}
}

// setDefaults gives a policy its defaults.
func (p *SubscriberPolicy) setDefaults(string, *Config) {
	p.Quota.Period = QuotaMonth
}

// direct is the upstream that is there though no file names it.
func direct() Upstream {
	var u Upstream
	u.setDefaults(string(UpstreamDirect), nil)
	u.Name, u.Type = DirectUpstream, UpstreamDirect
	return u
}

// selfOnly is who may use a listener that only this machine can reach.
func selfOnly() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// everybody is who may use a listener that chooses its clients otherwise.
func everybody() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
}
