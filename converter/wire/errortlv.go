// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"strconv"
)

// ErrorCode is the code of an Error TLV (RFC 8803, section 6.2.8). Codes up to
// 31 are about the message, 32 to 63 about the client, 64 to 95 about the
// converter and 96 to 127 about the server.
type ErrorCode uint8

// The error codes of RFC 8803.
const (
	UnsupportedVersion     ErrorCode = 0
	MalformedMessage       ErrorCode = 1
	UnsupportedMessage     ErrorCode = 2
	MissingCookie          ErrorCode = 3
	NotAuthorized          ErrorCode = 32
	UnsupportedTCPOption   ErrorCode = 33
	ResourceExceeded       ErrorCode = 64
	NetworkFailure         ErrorCode = 65
	ConnectionReset        ErrorCode = 96
	DestinationUnreachable ErrorCode = 97
)

func (c ErrorCode) String() string {
	switch c {
	case UnsupportedVersion:
		return "unsupported version"
	case MalformedMessage:
		return "malformed message"
	case UnsupportedMessage:
		return "unsupported message"
	case MissingCookie:
		return "missing cookie"
	case NotAuthorized:
		return "not authorized"
	case UnsupportedTCPOption:
		return "unsupported tcp option"
	case ResourceExceeded:
		return "resource exceeded"
	case NetworkFailure:
		return "network failure"
	case ConnectionReset:
		return "connection reset"
	case DestinationUnreachable:
		return "destination unreachable"
	}
	return "convert error " + strconv.Itoa(int(c))
}

// Error is the Error TLV (RFC 8803, section 6.2.8).
type Error struct {
	Code ErrorCode
	// Value depends on Code. It has at least one byte on the wire: none is
	// written as a zero. Parsed, it includes the padding.
	Value []byte
}

// MissingCookieError is the Error TLV that hands a cookie to a client: a zero
// byte, which aligns it, and the cookie.
func MissingCookieError(cookie []byte) *Error {
	return &Error{Code: MissingCookie, Value: append([]byte{0}, cookie...)}
}

// List is Value read as a list of one-byte numbers without the padding, as
// UnsupportedVersion, UnsupportedMessage and UnsupportedTCPOption have it.
func (e *Error) List() []uint8 { return bytes.TrimRight(e.Value, "\x00") }

// Cookie is the cookie that MissingCookie carries; empty when the converter
// computed none.
func (e *Error) Cookie() []byte {
	if e.Code != MissingCookie || len(e.Value) < 1 {
		return nil
	}
	return e.Value[1:]
}

func parseError(body []byte) *Error {
	return &Error{Code: ErrorCode(body[0]), Value: body[1:]}
}

func (e *Error) appendTo(b []byte) ([]byte, error) {
	return appendTLV(b, TypeError, []byte{byte(e.Code)}, e.Value)
}
