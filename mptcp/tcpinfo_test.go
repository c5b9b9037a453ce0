// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"fmt"
	"testing"
)

func TestNames(t *testing.T) {
	for want, value := range map[string]fmt.Stringer{
		"ESTABLISHED":   StateEstablished,
		"TIME-WAIT":     StateTimeWait,
		"CLOSING":       StateClosing,
		"state(0)":      TCPState(0),
		"state(99)":     TCPState(99),
		"open":          CongestionOpen,
		"loss":          CongestionLoss,
		"congestion(9)": CongestionState(9),
		"forbidden":     Forbidden,
		"mode(9)":       Mode(9),
	} {
		if got := value.String(); got != want {
			t.Errorf("%#v is %q, want %q", value, got, want)
		}
	}
}

// Where C lays out bit-fields does not change what they hold.
func TestFastOpenFailure(t *testing.T) {
	for _, want := range []FastOpenFailure{0, FastOpenCookieUnavailable, FastOpenDataNotAcked, FastOpenSYNRetransmitted} {
		var b [sizeofTCPInfo]byte
		b[7] = byte(want) << 1
		if bigEndian {
			b[7] = byte(want) << 5
		}
		if got := parseTCPInfo(&b); got.FastOpenFailure != want || got.AppLimited {
			t.Errorf("got %d, app limited %t; want %d", got.FastOpenFailure, got.AppLimited, want)
		}
	}
}
