// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// V6Only says whether an IPv6 listener also serves IPv4 (IPV6_V6ONLY).
type V6Only uint8

// The values of V6Only.
const (
	V6OnlyDefault V6Only = iota // as net.ipv6.bindv6only says: normally both
	V6OnlyYes                   // IPv6 only
	V6OnlyNo                    // both
)

// KeepAlive is when the kernel probes a silent peer. The zero value leaves
// keep-alive off; a field that is zero while another is not leaves that one to
// the kernel's default.
type KeepAlive struct {
	Idle     time.Duration // silence before the first probe, in whole seconds (TCP_KEEPIDLE)
	Interval time.Duration // between probes, in whole seconds (TCP_KEEPINTVL)
	Count    int           // probes without an answer that end the connection (TCP_KEEPCNT)
}

// SocketOptions are set before bind, connect or listen. The zero value of a
// field leaves the kernel's default. Sockets accepted from a listener inherit
// them.
type SocketOptions struct {
	Mark        uint32 // SO_MARK; needs CAP_NET_ADMIN or CAP_NET_RAW
	Device      string // SO_BINDTODEVICE
	Transparent bool   // IP_TRANSPARENT: foreign local addresses; needs CAP_NET_ADMIN or CAP_NET_RAW
	FreeBind    bool   // IP_FREEBIND: local addresses that are not configured (yet)
	ReusePort   bool   // SO_REUSEPORT
	V6Only      V6Only // listeners on IPv6 only

	NoDelay       bool // TCP_NODELAY
	KeepAlive     KeepAlive
	Congestion    string // TCP_CONGESTION, on all subflows
	NotSentLowat  int    // TCP_NOTSENT_LOWAT, bytes
	SendBuffer    int    // SO_SNDBUF, bytes; switches the kernel's auto-tuning off
	ReceiveBuffer int    // SO_RCVBUF, bytes; switches the kernel's auto-tuning off
}

// apply sets the options on a new socket of the given family.
func (o *SocketOptions) apply(fd, family int) error {
	set := setter{fd: fd}
	if o.Mark != 0 {
		set.int(unix.SOL_SOCKET, unix.SO_MARK, int(o.Mark), "SO_MARK")
	}
	if o.Device != "" {
		set.string(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, o.Device, "SO_BINDTODEVICE")
	}
	v6 := family == unix.AF_INET6
	if o.Transparent {
		if v6 {
			set.int(unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT")
		} else {
			set.int(unix.SOL_IP, unix.IP_TRANSPARENT, 1, "IP_TRANSPARENT")
		}
	}
	if o.FreeBind {
		if v6 {
			set.int(unix.SOL_IPV6, unix.IPV6_FREEBIND, 1, "IPV6_FREEBIND")
		} else {
			set.int(unix.SOL_IP, unix.IP_FREEBIND, 1, "IP_FREEBIND")
		}
	}
	if o.ReusePort {
		set.int(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "SO_REUSEPORT")
	}
	if v6 && o.V6Only != V6OnlyDefault {
		set.int(unix.SOL_IPV6, unix.IPV6_V6ONLY, boolInt(o.V6Only == V6OnlyYes), "IPV6_V6ONLY")
	}
	if o.NoDelay {
		set.int(unix.SOL_TCP, unix.TCP_NODELAY, 1, "TCP_NODELAY")
	}
	if o.KeepAlive != (KeepAlive{}) {
		o.KeepAlive.apply(&set)
	}
	if o.Congestion != "" {
		set.string(unix.SOL_TCP, unix.TCP_CONGESTION, o.Congestion, "TCP_CONGESTION")
	}
	if o.NotSentLowat != 0 {
		set.int(unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat, "TCP_NOTSENT_LOWAT")
	}
	if o.SendBuffer != 0 {
		set.int(unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer, "SO_SNDBUF")
	}
	if o.ReceiveBuffer != 0 {
		set.int(unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer, "SO_RCVBUF")
	}
	return set.err
}

func (k *KeepAlive) apply(set *setter) {
	set.int(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, "SO_KEEPALIVE")
	if k.Idle != 0 {
		set.int(unix.SOL_TCP, unix.TCP_KEEPIDLE, seconds(k.Idle), "TCP_KEEPIDLE")
	}
	if k.Interval != 0 {
		set.int(unix.SOL_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval), "TCP_KEEPINTVL")
	}
	if k.Count != 0 {
		set.int(unix.SOL_TCP, unix.TCP_KEEPCNT, k.Count, "TCP_KEEPCNT")
	}
}

// seconds rounds up: the kernel knows whole seconds and refuses none.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// setter sets options until one fails and remembers that one.
type setter struct {
	fd  int
	err error
}

func (s *setter) int(level, option, value int, name string) {
	if s.err != nil {
		return
	}
	if err := unix.SetsockoptInt(s.fd, level, option, value); err != nil {
		s.err = fmt.Errorf("set %s to %d: %w", name, value, err)
	}
}

func (s *setter) string(level, option int, value, name string) {
	if s.err != nil {
		return
	}
	if err := unix.SetsockoptString(s.fd, level, option, value); err != nil {
		s.err = fmt.Errorf("set %s to %q: %w", name, value, err)
	}
}
