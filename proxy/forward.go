// SPDX-License-Identifier: Apache-2.0

package proxy

import "time"

// Forward is the front end that sends every connection to one fixed target.
type Forward struct {
	request Request
}

// NewForward returns a front end for the target. Host is a name, which is
// resolved for each connection, or empty when target is an address.
func NewForward(request Request) *Forward { return &Forward{request: request} }

// Greet implements FrontEnd.
func (f *Forward) Greet(*Client, time.Time) Handshake { return (*fixed)(&f.request) }

// fixed is a handshake without a word: the request is known from the start,
// and a failure is a reset.
type fixed Request

// Next implements Handshake.
func (f *fixed) Next([]byte) (Step, error) { return Step{Request: (*Request)(f)}, nil }

// Reply implements Handshake.
func (f *fixed) Reply(dst []byte, _ Outcome) []byte { return dst }
