// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"slices"

	"github.com/tandem-gateway/tandem/converter/wire"
)

// errOptionsTooLong are options that the client cannot have had in its own SYN
// and that ours could not carry.
var errOptionsTooLong = errors.New("tcp options do not fit a SYN")

// mayAnnounce reports whether kind may be listed as supported (RFC 8803,
// section 7). Window Scale is the caller's to leave out.
func mayAnnounce(kind uint8) bool {
	switch kind {
	case wire.KindEndOfList, wire.KindNoOperation, wire.KindMaxSegment,
		wire.KindSACK, wire.KindTCPAO:
		return false
	}
	return true
}

// clientHasNoSay reports whether a kind in a Connect TLV is ignored (RFC 8803,
// section 7): our own stack's properties decide, or it cannot be in a SYN.
func clientHasNoSay(kind uint8) bool {
	switch kind {
	case wire.KindMaxSegment, wire.KindWindowScale, wire.KindSACK:
		return true
	}
	return false
}

// ownValue reports whether only the stack that opens a connection can choose
// the value of an option, so that one from the client is not looked at.
func ownValue(kind uint8) bool {
	switch kind {
	case wire.KindSACKPermitted, wire.KindTimestamps, wire.KindMPTCP:
		return true
	}
	return false
}

// takeOptions moves the options of a Connect TLV into req, or refuses them,
// naming all that cannot be used.
func (s *Server) takeOptions(req *Request, list []wire.TCPOption) error {
	size := 0
	var unsupported []uint8
	for _, o := range list {
		size += 2 + len(o.Value)
		if clientHasNoSay(o.Kind) {
			continue
		}
		copies := len(o.Value) > 0 && !ownValue(o.Kind)
		if !slices.Contains(s.supported, o.Kind) || copies && !slices.Contains(s.copied, o.Kind) {
			if !slices.Contains(unsupported, o.Kind) {
				unsupported = append(unsupported, o.Kind)
			}
			continue
		}
		req.Options = append(req.Options, o)
		switch o.Kind {
		case wire.KindMPTCP:
			req.ProbeMPTCP = true
		case wire.KindFastOpen:
			req.FastOpen, req.FastOpenCookie = true, o.Value
		}
	}
	if size > wire.MaxTCPOptions {
		return refuse(&wire.Error{Code: wire.MalformedMessage}, errOptionsTooLong)
	}
	if unsupported != nil {
		return refuse(&wire.Error{Code: wire.UnsupportedTCPOption, Value: unsupported},
			&UnsupportedOptionError{Kinds: unsupported})
	}
	return nil
}
