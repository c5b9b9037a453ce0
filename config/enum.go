// SPDX-License-Identifier: Apache-2.0

package config

import "log/slog"

// An enum is a string type with a fixed set of values.
type enum interface {
	// values are all there are, the most usual one first.
	values() []string
}

// LogLevel is the least serious level that is logged.
type LogLevel string

// The levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

func (LogLevel) values() []string {
	return []string{string(LogDebug), string(LogInfo), string(LogWarn), string(LogError)}
}

// Level is the level as package slog knows it.
func (l LogLevel) Level() slog.Level {
	switch l {
	case LogDebug:
		return slog.LevelDebug
	case LogWarn:
		return slog.LevelWarn
	case LogError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// LogFormat is the form of log messages.
type LogFormat string

// The formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (LogFormat) values() []string { return []string{string(LogText), string(LogJSON)} }

// Family is an address family.
type Family string

// The families.
const (
	IPv6 Family = "ipv6"
	IPv4 Family = "ipv4"
)

func (Family) values() []string { return []string{string(IPv6), string(IPv4)} }

// Transport is how messages travel.
type Transport string

// The transports.
const (
	TransportUDP Transport = "udp"
	TransportTCP Transport = "tcp"
)

func (Transport) values() []string { return []string{string(TransportUDP), string(TransportTCP)} }

// ListenerType is what the clients of a listener speak.
type ListenerType string

// The types of listeners.
const (
	ListenSOCKS5   ListenerType = "socks5"   // SOCKS5: RFC 1928
	ListenConvert  ListenerType = "convert"  // the 0-RTT TCP Convert Protocol: RFC 8803
	ListenTProxy   ListenerType = "tproxy"   // nothing: their traffic is forwarded by this machine and intercepted
	ListenRedirect ListenerType = "redirect" // nothing: they are programs of this machine and intercepted
	ListenForward  ListenerType = "forward"  // nothing: there is one fixed server
)

func (ListenerType) values() []string {
	return []string{string(ListenSOCKS5), string(ListenConvert), string(ListenTProxy), string(ListenRedirect), string(ListenForward)}
}

// Intercepts reports whether clients are intercepted, unaware of the listener.
func (t ListenerType) Intercepts() bool { return t == ListenTProxy || t == ListenRedirect }

// UpstreamType is how servers are reached.
type UpstreamType string

// The types of upstreams.
const (
	UpstreamDirect  UpstreamType = "direct"  // straight
	UpstreamConvert UpstreamType = "convert" // through a Transport Converter: RFC 8803
	UpstreamSOCKS5  UpstreamType = "socks5"  // through a SOCKS5 server: RFC 1928
)

func (UpstreamType) values() []string {
	return []string{string(UpstreamDirect), string(UpstreamConvert), string(UpstreamSOCKS5)}
}

// CookiePolicy says whether clients of a converter need a cookie.
type CookiePolicy string

// The policies.
const (
	CookiesOff      CookiePolicy = "off"
	CookiesRequired CookiePolicy = "required"
)

func (CookiePolicy) values() []string {
	return []string{string(CookiesOff), string(CookiesRequired)}
}

// SourceAddress says which address servers see.
type SourceAddress string

// The source addresses.
const (
	SourceOwn    SourceAddress = "own"
	SourceClient SourceAddress = "client"
	SourcePool   SourceAddress = "pool"
)

func (SourceAddress) values() []string {
	return []string{string(SourceOwn), string(SourceClient), string(SourcePool)}
}

// WhenDown says what happens when no server of an upstream is up.
type WhenDown string

// The choices. There is no default: one keeps users online, the other keeps
// their traffic from leaving by a way that it was not meant to take.
const (
	GoDirect WhenDown = "direct"
	Refuse   WhenDown = "refuse"
)

func (WhenDown) values() []string { return []string{string(GoDirect), string(Refuse)} }

// PathManager is who decides on the subflows of connections.
type PathManager string

// The path managers.
const (
	PathsKernel     PathManager = "kernel"
	PathsDefault    PathManager = "default"
	PathsNDiffPorts PathManager = "ndiffports"
	PathsFullMesh   PathManager = "fullmesh"
	PathsRefreshing PathManager = "refreshing"
	PathsDelaying   PathManager = "delaying"
)

func (PathManager) values() []string {
	return []string{string(PathsKernel), string(PathsDefault), string(PathsNDiffPorts), string(PathsFullMesh), string(PathsRefreshing), string(PathsDelaying)}
}
