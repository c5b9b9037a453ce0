// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"context"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Codes of ICMP Destination Unreachable (RFC 792; RFC 1122, section 3.2.2.1;
// RFC 1812, section 5.2.7.1).
const (
	icmpNet            = 0
	icmpHost           = 1
	icmpProtocol       = 2
	icmpPort           = 3
	icmpNetUnknown     = 6
	icmpHostUnknown    = 7
	icmpHostIsolated   = 8
	icmpNetProhibited  = 9
	icmpNetTOS         = 11
	icmpCommProhibited = 13
)

// Codes of ICMPv6 Destination Unreachable (RFC 4443, section 3.1).
const (
	icmp6NoRoute    = 0
	icmp6Prohibited = 1
	icmp6Address    = 3
	icmp6Port       = 4
	icmp6Source     = 5
	icmp6Reject     = 6
)

// unreachables are the errors of a destination that cannot be reached, and the
// codes that say the same.
var unreachables = []struct {
	err    error
	v4, v6 uint8
}{
	{unix.ENETUNREACH, icmpNet, icmp6NoRoute},
	{unix.EHOSTUNREACH, icmpHost, icmp6Address},
	{unix.ENOPROTOOPT, icmpProtocol, icmp6Address},
	{unix.EHOSTDOWN, icmpHostUnknown, icmp6Address},
	{unix.ENONET, icmpHostIsolated, icmp6Address},
	{unix.EACCES, icmpCommProhibited, icmp6Prohibited},
	{unix.EPERM, icmpCommProhibited, icmp6Prohibited},
	{unix.ENETDOWN, icmpNet, icmp6NoRoute},
	// This host lacks the family, or knows of no way to such an address.
	{unix.EAFNOSUPPORT, icmpNet, icmp6NoRoute},
	{unix.EINVAL, icmpNet, icmp6NoRoute},
	// Nobody answers: what a router says when nobody answers its ARP.
	{unix.ETIMEDOUT, icmpHost, icmp6Address},
	{context.DeadlineExceeded, icmpHost, icmp6Address},
	{os.ErrDeadlineExceeded, icmpHost, icmp6Address},
}

// unreachable returns the ICMP code for an error about the destination, and
// whether err is one.
func unreachable(err error, v6 bool) (code uint8, ok bool) {
	for _, u := range unreachables {
		if errors.Is(err, u.err) {
			if v6 {
				return u.v6, true
			}
			return u.v4, true
		}
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return map[bool]uint8{false: icmpHost, true: icmp6Address}[v6], true
	}
	return 0, false
}

// unreachableErrno is what connect returns on this kernel when it receives
// ICMP Destination Unreachable with the code (icmp_err_convert in
// net/ipv4/icmp.c, tab_unreach in net/ipv6/icmp.c).
func unreachableErrno(code uint8, v6 bool) unix.Errno {
	if v6 {
		switch code {
		case icmp6NoRoute:
			return unix.ENETUNREACH
		case icmp6Prohibited, icmp6Source, icmp6Reject:
			return unix.EACCES
		case icmp6Port:
			return unix.ECONNREFUSED
		}
		return unix.EHOSTUNREACH
	}
	switch code {
	case icmpNet, icmpNetUnknown, icmpNetProhibited, icmpNetTOS:
		return unix.ENETUNREACH
	case icmpProtocol:
		return unix.ENOPROTOOPT
	case icmpPort:
		return unix.ECONNREFUSED
	case icmpHostUnknown:
		return unix.EHOSTDOWN
	case icmpHostIsolated:
		return unix.ENONET
	}
	return unix.EHOSTUNREACH
}
