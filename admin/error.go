// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
)

// Error is the answer to a request that failed.
type Error struct {
	// Message says what is wrong.
	Message string `json:"error"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`

	// Status is that of HTTP.
	Status int `json:"-"`
}

// Error is the message with the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Hint
}

// ErrDraining is returned by a Gateway that is about to end for what it does
// not do any more.
var ErrDraining = errors.New("tandem is draining")
