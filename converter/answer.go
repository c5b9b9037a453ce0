// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

// Success appends the message that precedes the server's bytes. synack are the
// options of the server's SYN-ACK, nil when they are not known; the keys of
// Multipath TCP in them are blanked in place. granted are the options of the
// connection that the client gets of those that it asked for.
func (s *Server) Success(dst []byte, req *Request, synack []byte, granted options.Set) []byte {
	var m wire.Message
	if len(synack) > 0 && !s.hideSYNACK {
		m.ExtendedTCPHeader = wire.BlankMPTCPKeys(synack)
	}
	if req.Supported {
		m.Supported = s.supported
	}
	if req.Chooses {
		m.Private = []wire.Private{choicesTLV(granted, true)}
	}
	return encode(dst, &m)
}

// Failure appends the message that says why the connection of req could not be
// made. err is what connecting to the server returned, or wraps an error of
// this package: ErrNotAuthorized, ErrResources, ErrMalformedTarget,
// *UnsupportedOptionError or ErrUnavailable.
func (s *Server) Failure(dst []byte, req *Request, err error) []byte {
	v6 := req.Target.Addr().Unmap().Is6()
	return encode(dst, &wire.Message{Error: errorOf(err, v6)})
}

// errorOf is the Error TLV that says what went wrong. What is not known to be
// about this request or its server is the converter's own fault.
func errorOf(err error, v6 bool) *wire.Error {
	var unsupported *UnsupportedOptionError
	code := wire.NetworkFailure
	switch {
	case errors.As(err, &unsupported):
		return &wire.Error{Code: wire.UnsupportedTCPOption, Value: unsupported.Kinds}
	case errors.Is(err, ErrNotAuthorized):
		code = wire.NotAuthorized
	case errors.Is(err, ErrMalformedTarget):
		code = wire.MalformedMessage
	case errors.Is(err, ErrUnavailable):
	case exhausted(err):
		code = wire.ResourceExceeded
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		code = wire.ConnectionReset
	default:
		if icmp, ok := unreachable(err, v6); ok {
			return &wire.Error{Code: wire.DestinationUnreachable, Value: []byte{icmp}}
		}
	}
	return &wire.Error{Code: code}
}

// exhausted reports whether the converter lacks something that others hold.
func exhausted(err error) bool {
	for _, e := range []error{
		ErrResources, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS,
		unix.EAGAIN, unix.EADDRNOTAVAIL, unix.EADDRINUSE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
