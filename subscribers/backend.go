// SPDX-License-Identifier: Apache-2.0

package subscribers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Errors of those who are not served.
var (
	// ErrNobody is for clients that are no subscriber's.
	ErrNobody = errors.New("not a subscriber")
	// ErrRejected is a Backend's answer to a wrong password or an unknown name.
	ErrRejected = errors.New("rejected")
	// ErrAway is for when no server of a Backend answers.
	ErrAway = errors.New("authentication is not available")
	// ErrBusy is for when a Backend is asked too much at once. It wraps ErrAway.
	ErrBusy = fmt.Errorf("%w: too many wait for it", ErrAway)
	// ErrAsk is returned by Registry.Admit if the Backend has to be asked
	// first.
	ErrAsk = errors.New("has to be asked for")
)

func errNoPolicy(name string) error { return fmt.Errorf("there is no policy %q", name) }

// Question is what a Backend is asked.
type Question struct {
	User     string
	Password string     // empty if ByAddress
	Address  netip.Addr // of the client, if it is known
	// ByAddress says that nobody has shown who they are: User is the text of
	// the address.
	ByAddress bool
}

// Grant is a Backend's answer to a right password.
type Grant struct {
	Changes Changes
	Class   [][]byte      // to be told with each accounting record
	Interim time.Duration // between accounting records; 0: what is configured
}

// Backend knows subscribers that the configuration does not list. The error
// wraps ErrRejected or ErrAway.
type Backend interface {
	Authenticate(ctx context.Context, q Question) (Grant, error)
}

// Kind is what an accounting record is about.
type Kind uint8

// The kinds of records.
const (
	Start Kind = iota
	Interim
	Stop
)

// Cause is why a session ended.
type Cause uint8

// The causes.
const (
	NoCause     Cause = iota
	IdleTimeout       // nothing happened for as long as may be
	Lifetime          // it lasted as long as it may
	Kicked            // by an operator or a Backend
	Shutdown          // the gateway was stopped
	Logout            // its last connection ended
)

// Event is something to account for.
type Event struct {
	Kind     Kind
	User     string
	Session  string
	Address  netip.Addr // of the first client
	Class    [][]byte
	Time     time.Time // when it happened
	Start    time.Time
	Up, Down uint64 // bytes from and to the subscriber
	Networks []Network
	Cause    Cause // of Stop
}

// Network is what was moved over one access network.
type Network struct {
	Name     string
	Up, Down uint64
}

// Accountant takes note of sessions. It must not block.
type Accountant interface{ Account(Event) }
