// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter/wire"
)

// Errors that a caller of Server.Failure wraps where no errno says what went
// wrong. The Dialer reports the same ones when the converter's answer says so.
var (
	// ErrNotAuthorized is a request that policy forbids, or an invalid cookie.
	ErrNotAuthorized = errors.New("not authorized by the converter")
	// ErrResources is a limit that was reached: connections, memory,
	// descriptors.
	ErrResources = errors.New("converter is out of resources")
	// ErrMalformedTarget is a target that no Connect TLV may name: multicast,
	// broadcast, unspecified, loopback, port 0, or an address with a zone.
	ErrMalformedTarget = errors.New("not an address that can be connected to")
	// ErrUnsupportedOption is a TCP option that cannot be used towards the
	// server. UnsupportedOptionError wraps it.
	ErrUnsupportedOption = errors.New("tcp option is not supported")
	// ErrUnavailable is a converter that is out of resources or cannot
	// forward: use another one, or none, until Dialer.Available.
	ErrUnavailable = errors.New("converter is unavailable")
)

// Errors of the Dialer.
var (
	// ErrIncompatible is a peer that speaks no Convert that we do.
	ErrIncompatible = errors.New("converter is incompatible")
	// ErrRetry asks for the same Exchange to begin again on a new connection:
	// the answer has taught the Dialer a cookie, or what not to ask for. An
	// Exchange returns it a few times at most.
	ErrRetry = errors.New("try again on a new connection")
)

// UnsupportedOptionError names the TCP options that cannot be used.
type UnsupportedOptionError struct {
	Kinds []uint8
}

func (e *UnsupportedOptionError) Error() string {
	return fmt.Sprintf("%v: kinds %d", ErrUnsupportedOption, e.Kinds)
}

func (e *UnsupportedOptionError) Unwrap() error { return ErrUnsupportedOption }

// Error is a failure that the peer reported in an Error TLV. It matches the
// error of this package that it stands for, and where it is about the server
// the errno that a direct connection would have met.
type Error struct {
	Code wire.ErrorCode
	// Value is what came with the code, with its padding.
	Value []byte

	is []error
}

// newError reads an Error TLV about a target that is an IPv6 address or not,
// which its ICMP code needs to be understood. It keeps nothing of e.
func newError(e *wire.Error, v6 bool) *Error {
	out := &Error{Code: e.Code, Value: append([]byte(nil), e.Value...)}
	switch e.Code {
	case wire.NotAuthorized, wire.MissingCookie:
		out.is = []error{ErrNotAuthorized}
	case wire.UnsupportedTCPOption:
		out.is = []error{&UnsupportedOptionError{Kinds: append([]uint8(nil), e.List()...)}}
	case wire.ResourceExceeded:
		out.is = []error{ErrUnavailable, ErrResources}
	case wire.NetworkFailure:
		out.is = []error{ErrUnavailable}
	case wire.ConnectionReset:
		out.is = []error{unix.ECONNREFUSED}
	case wire.DestinationUnreachable:
		out.is = []error{unreachableErrno(icmpCode(e.Value), v6)}
	default:
		out.is = []error{fallbackError(e.Code)}
	}
	return out
}

// fallbackError goes by the range of a code that has no meaning of its own
// here (RFC 8803, section 6.2.8).
func fallbackError(code wire.ErrorCode) error {
	switch {
	case code < 32:
		return ErrIncompatible
	case code < 64:
		return ErrNotAuthorized
	case code < 96:
		return ErrUnavailable
	case code < 128:
		return unix.EHOSTUNREACH
	}
	return ErrIncompatible
}

func (e *Error) Error() string {
	if e.Code == wire.DestinationUnreachable {
		return fmt.Sprintf("converter answered: %s (ICMP code %d)", e.Code, icmpCode(e.Value))
	}
	return fmt.Sprintf("converter answered: %s", e.Code)
}

// icmpCode is the value that comes with DestinationUnreachable.
func icmpCode(value []byte) uint8 {
	if len(value) == 0 {
		return 0
	}
	return value[0]
}

// Unwrap returns what the error matches.
func (e *Error) Unwrap() []error { return e.is }
