// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Code is the REP field of a reply: RFC 1928 section 6.
type Code uint8

// The codes of RFC 1928 section 6.
const (
	Succeeded Code = iota
	GeneralFailure
	NotAllowed
	NetworkUnreachable
	HostUnreachable
	ConnectionRefused
	TTLExpired
	CommandNotSupported
	AddressTypeNotSupported
)

// String returns the words of RFC 1928 section 6.
func (c Code) String() string {
	switch c {
	case Succeeded:
		return "succeeded"
	case GeneralFailure:
		return "general SOCKS server failure"
	case NotAllowed:
		return "connection not allowed by ruleset"
	case NetworkUnreachable:
		return "network unreachable"
	case HostUnreachable:
		return "host unreachable"
	case ConnectionRefused:
		return "connection refused"
	case TTLExpired:
		return "TTL expired"
	case CommandNotSupported:
		return "command not supported"
	case AddressTypeNotSupported:
		return "address type not supported"
	}
	return fmt.Sprintf("unassigned reply code %d", uint8(c))
}

// ReplyCode returns the code that tells a client what went wrong; err may be
// wrapped or joined.
//
// A connection that could not be made in time, whether the kernel gave up or a
// deadline passed, is TTLExpired, as with dante (which maps ETIMEDOUT to
// it in both directions): RFC 1928 has no code for it, and a client can so tell
// it from a host that is known to be unreachable. A name that could not be resolved is HostUnreachable, also when
// the name server did not answer. The code of an upstream proxy is passed on.
func ReplyCode(err error) Code {
	var upstream *ReplyError
	var dns *net.DNSError
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return Succeeded
	case errors.As(err, &upstream):
		return upstream.Code
	case is(ErrNotAllowed, unix.EPERM, unix.EACCES):
		return NotAllowed
	case is(ErrCommand):
		return CommandNotSupported
	case is(ErrAddressType, unix.EAFNOSUPPORT):
		return AddressTypeNotSupported
	case is(unix.ECONNREFUSED):
		return ConnectionRefused
	case errors.As(err, &dns), is(ErrName, unix.EHOSTUNREACH, unix.EHOSTDOWN):
		return HostUnreachable
	case is(unix.ENETUNREACH, unix.ENETDOWN):
		return NetworkUnreachable
	case is(unix.ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded):
		return TTLExpired
	}
	return GeneralFailure
}

// AppendReply appends the reply to a request: success with the address that
// the connection to the server is bound to (of the listening socket or the
// peer for BIND, of the relay for UDP ASSOCIATE), or the code for err. An
// address that is not valid is sent as 0.0.0.0:0, as are those of failures.
func AppendReply(dst []byte, bound netip.AddrPort, err error) []byte {
	code := ReplyCode(err)
	if code != Succeeded {
		bound = netip.AddrPort{}
	}
	return appendAddress(append(dst, version5, byte(code), 0), bound)
}

// Reply returns the reply to the request, as AppendReply does. It is valid
// until the next call of a method of h.
func (h *Handshake) Reply(bound netip.AddrPort, err error) []byte {
	return AppendReply(h.buf[:0], bound, err)
}

// ReplyError is the refusal of a request by a SOCKS5 server.
type ReplyError struct{ Code Code }

// Error implements error.
func (e *ReplyError) Error() string { return "socks: proxy replied: " + e.Code.String() }

// Unwrap returns the error that a direct connection would have met, or the one
// of this package for what has no errno.
func (e *ReplyError) Unwrap() error {
	switch e.Code {
	case NotAllowed:
		return ErrNotAllowed
	case NetworkUnreachable:
		return unix.ENETUNREACH
	case HostUnreachable:
		return unix.EHOSTUNREACH
	case ConnectionRefused:
		return unix.ECONNREFUSED
	case TTLExpired:
		return unix.ETIMEDOUT
	case CommandNotSupported:
		return ErrCommand
	case AddressTypeNotSupported:
		return ErrAddressType
	}
	return nil
}
