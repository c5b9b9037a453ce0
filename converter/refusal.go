// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"fmt"

	"github.com/tandem-gateway/tandem/converter/wire"
)

var (
	errNoRequest     = errors.New("message asks for nothing")
	errMissingCookie = fmt.Errorf("%w: cookie is missing", ErrNotAuthorized)
	errInvalidCookie = fmt.Errorf("%w: invalid cookie", ErrNotAuthorized)
)

// Refusal is a client's message that is not served.
type Refusal struct {
	// Code is why, also when it is not sent.
	Code wire.ErrorCode
	// Answer is to be sent before the connection is closed. It is empty for a
	// peer that does not speak Convert, and for one that reports an error.
	Answer []byte
	// Err says what is wrong, for the log.
	Err error
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %v", r.Code, r.Err) }

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(e *wire.Error, err error) *Refusal {
	return &Refusal{Code: e.Code, Answer: encode(nil, &wire.Message{Error: e}), Err: err}
}

// encode appends a message of ours, which is a few dozen bytes by
// construction and nothing that cannot be expressed. Where that is not so, a
// bare error is what remains to be said.
func encode(dst []byte, m *wire.Message) []byte {
	out, err := m.AppendTo(dst)
	if err != nil {
		fallback := wire.Message{Error: &wire.Error{Code: wire.NetworkFailure}}
		out, _ = fallback.AppendTo(dst)
	}
	return out
}

// unsupportedTypesError names TLVs that are not served here.
type unsupportedTypesError []byte

func (e unsupportedTypesError) Error() string {
	return fmt.Sprintf("tlv types %d are not supported", []byte(e))
}
