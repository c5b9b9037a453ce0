// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"fmt"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

// TypeChoices is the private TLV with the per-connection options of package
// options: two zero bytes, then records of four bytes. In a request they are
// what the client asks for, in the answer, as echoes, what it was granted. A
// record that is not answered was refused.
const TypeChoices wire.Type = 224

// reserved is what follows the header of the TLV, as in those of RFC 8803.
const reserved = 2

// choicesTLV is the TLV for a set.
func choicesTLV(s options.Set, echo bool) wire.Private {
	return wire.Private{Type: TypeChoices, Body: s.AppendRecords(make([]byte, reserved), echo)}
}

// readChoices finds the TLV among private ones and reads it. asked says
// whether it is there. The error wraps options.ErrMalformed.
func readChoices(list []wire.Private, echo bool) (r options.Request, asked bool, err error) {
	for _, p := range list {
		if p.Type != TypeChoices {
			continue
		}
		r, err = options.ReadRecords(p.Body[reserved:], echo)
		if err != nil {
			return options.Request{}, true, fmt.Errorf("%s: %w", p.Type, err)
		}
		return r, true, nil
	}
	return options.Request{}, false, nil
}

// takeChoices moves the options that the client asks for into req, or refuses
// them.
func (s *Server) takeChoices(req *Request) (err error) {
	if !s.choices {
		return nil
	}
	if req.Choices, req.Chooses, err = readChoices(req.Private, false); err != nil {
		return refuse(&wire.Error{Code: wire.MalformedMessage}, err)
	}
	return nil
}

// grantedOf is what an answer grants of what was asked. A converter that gives
// the TLV another meaning serves the connection all the same.
func grantedOf(m *wire.Message, asked options.Set) (granted options.Set, understood bool) {
	r, there, err := readChoices(m.Private, true)
	if err != nil || !there || asked.Empty() {
		return options.Set{}, false
	}
	for o, v := range r.Set.All() {
		if asked.Has(o) {
			granted, _ = granted.With(o, v)
		}
	}
	return granted, true
}
