// SPDX-License-Identifier: Apache-2.0

package policy

import "errors"

// ErrRefused is what every [*Refused] wraps.
var ErrRefused = errors.New("connection refused by limit")

// A Reason is the limit that refused a connection.
type Reason uint8

// Reasons of Refused.
const (
	Total          Reason = iota // connections in all
	PerSource                    // connections of the prefix
	Pending                      // unfinished handshakes of the prefix
	Rate                         // new connections per second of the prefix
	Prefixes                     // prefixes with connections
	Subscriber                   // connections of the subscriber
	SubscriberRate               // new connections per second of the subscriber
	reasons
)

// NumReasons is the number of reasons: they are 0 to NumReasons-1.
const NumReasons = int(reasons)

// String returns the name of the reason, as in logs and metrics.
func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return [reasons]string{"total", "per-source", "pending", "rate", "prefixes", "subscriber", "subscriber-rate"}[r]
}

// Refused is the error of a connection that a limit does not let in. It does
// not tell whose connection: one value serves all, so that a flood of refusals
// costs no memory.
type Refused struct{ Reason Reason }

func (e *Refused) Error() string { return ErrRefused.Error() + ": " + e.Reason.String() }

// Unwrap returns ErrRefused.
func (e *Refused) Unwrap() error { return ErrRefused }

var refusals = [reasons]*Refused{{Total}, {PerSource}, {Pending}, {Rate}, {Prefixes}, {Subscriber}, {SubscriberRate}}
