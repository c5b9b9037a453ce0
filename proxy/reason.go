// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/redundant"
	"github.com/tandem-gateway/tandem/subscribers"
)

// Reason is why a connection was refused or failed before it was served.
type Reason uint8

// The reasons. Those from RefusedLimit on are one for each policy.Reason.
const (
	RefusedSource      Reason = iota // client not in the listener's allow list
	RefusedTCP                       // client without MPTCP where that is required
	RefusedHandshake                 // bad or missing handshake
	RefusedAuth                      // wrong user, password or cookie
	RefusedDestination               // destination not allowed
	RefusedUpstream                  // no way to the server
	RefusedServer                    // the server refused or could not be reached
	RefusedResources                 // out of descriptors, memory or ports
	RefusedGone                      // the client left before it was served
	RefusedShutdown                  // the proxy was stopped
	RefusedKicked                    // the operator ended it
	RefusedLimit                     // + policy.Reason: a limit on connections
	numReasons         = RefusedLimit + Reason(policy.NumReasons)
)

var reasonNames = [RefusedLimit]string{
	"source", "tcp", "handshake", "authentication", "destination", "upstream", "server", "resources", "gone", "shutdown", "kicked",
}

// String is the reason as it appears in counters and logs.
func (r Reason) String() string {
	if r < RefusedLimit {
		return reasonNames[r]
	}
	return "limit-" + policy.Reason(r-RefusedLimit).String()
}

// NumReasons is the number of reasons: they are 0 to NumReasons-1.
const NumReasons = int(numReasons)

// reasonOf says under which reason a failure is counted.
func reasonOf(err error, otherwise Reason) Reason {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	var limited *policy.Refused
	var refusal *converter.Refusal
	switch {
	case errors.As(err, &limited):
		return RefusedLimit + Reason(limited.Reason)
	case is(socks.ErrAuthentication, socks.ErrMethods) && !isHopError(err),
		is(subscribers.ErrNobody, subscribers.ErrRejected, subscribers.ErrAway),
		errors.As(err, &refusal) && is(converter.ErrNotAuthorized):
		return RefusedAuth
	case refusal != nil, is(redundant.ErrUnknown):
		return RefusedHandshake
	case is(policy.ErrDenied, converter.ErrNotAuthorized, converter.ErrMalformedTarget, socks.ErrNotAllowed):
		return RefusedDestination
	case isScarcity(err):
		return RefusedResources
	case isHopError(err), is(ErrNoUpstream):
		return RefusedUpstream
	case is(errNotMPTCP):
		return RefusedTCP
	case is(ErrShutdown):
		return RefusedShutdown
	case is(ErrKicked):
		return RefusedKicked
	}
	return otherwise
}

// isScarcity reports whether an error is for want of something on this host,
// which says nothing of hop or server.
func isScarcity(err error) bool {
	for _, scarce := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL} {
		if errors.Is(err, scarce) {
			return true
		}
	}
	return false
}

// outOfFiles reports whether an error is for want of a descriptor.
func outOfFiles(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}
