// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"fmt"

	"github.com/tandem-gateway/tandem/converter/wire"
)

var errNotAlone = errors.New("redundancy comes with a request")

// takeRedundancy finds the TLV that makes the connection a leg of a stream. It
// stands beside a cookie only: requests are what the stream carries.
func (s *Server) takeRedundancy(m *wire.Message) (leg *wire.Redundancy, err error) {
	if !s.redundancy {
		return nil, nil
	}
	for _, p := range m.Private {
		if p.Type != wire.TypeRedundancy {
			continue
		}
		r, err := wire.ParseRedundancy(p.Body)
		var pe *wire.ParseError
		switch {
		case errors.As(err, &pe):
			return nil, refuse(&wire.Error{Code: pe.Code, Value: pe.Value}, err)
		case m.Connect != nil || m.Info || len(m.Private) > 1:
			return nil, refuse(&wire.Error{Code: wire.MalformedMessage}, errNotAlone)
		}
		return &r, nil
	}
	return nil, nil
}

// Accept appends the message that answers a leg, with the Instance that it
// belongs to, before the first frame.
func (s *Server) Accept(dst []byte, leg *wire.Redundancy) []byte {
	return encode(dst, &wire.Message{Private: []wire.Private{leg.Private()}})
}

// Trusting is a Server like s that asks nobody for a cookie: for what comes
// through legs, each of which has shown one.
func (s *Server) Trusting() *Server {
	t := *s
	t.cookies, t.redundancy = nil, false
	return &t
}

// Join begins the request to make a connection a leg of a stream. Frames may
// follow it at once; the answer is for Answer.Accepted to judge.
func (d *Dialer) Join(leg wire.Redundancy) *Exchange {
	return &Exchange{dialer: d, leg: &leg}
}

// Accepted returns the instance of the stream that a leg belongs to now. The
// error is ErrIncompatible for the answer of a converter that does not know
// legs.
func (a *Answer) Accepted(id [16]byte) (instance uint64, err error) {
	for _, p := range a.Private {
		if p.Type != wire.TypeRedundancy {
			continue
		}
		if r, err := wire.ParseRedundancy(p.Body); err == nil && r.ID == id && r.Instance != 0 {
			return r.Instance, nil
		}
	}
	return 0, fmt.Errorf("%w: it takes a leg for something else", ErrIncompatible)
}
