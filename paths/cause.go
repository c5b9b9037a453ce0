// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"fmt"
	"slices"
	"strconv"
)

// Cause is why a subflow was opened or closed.
type Cause uint8

// The causes. A subflow that restores one that was lost has the cause of the
// loss as the cause of its opening.
const (
	NoCause Cause = iota

	// Of an opening only.

	FirstSubflow // it came with the connection
	ByPeer       // the peer opened it
	ByPolicy     // the path manager wanted it
	Found        // it was there when the kernel was asked

	// Of a loss.

	ClosedByPeer  // FIN: the peer, or the end of the connection
	ResetReceived // by the peer or something on the path
	ResetSent     // by this end: an error, or the kernel was told to
	TimedOut      // the peer did not answer
	Refused       // the kernel did not open it: no route, no address, or an error
	NotAnswered   // it could not be opened within the time for that
	Vanished      // it was gone when the kernel was asked
	PathLost      // closed because an address, a link or a route is gone

	// Of a closing on purpose.

	Replaced  // by a younger one on the same path
	TooMany   // beyond the limits of the policy
	Forbidden // the policy takes no joins from there
	Drained   // its path is not to be used: see Engine.Drain

	causes
)

var causeNames = [causes]string{"none", "first", "peer", "policy", "found", "FIN", "reset received", "reset sent",
	"timeout", "refused", "no answer", "vanished", "path lost", "replaced", "too many", "forbidden", "drained"}

// String is for logs, and for labels of metrics.
func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return strconv.Itoa(int(c))
}

// loss reports whether a subflow that ended with c is missed.
func (c Cause) loss() bool { return c >= ClosedByPeer && c <= PathLost }

// MarshalText is String.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (c *Cause) UnmarshalText(b []byte) error {
	i := slices.Index(causeNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown cause %q", b)
	}
	*c = Cause(i)
	return nil
}
