// SPDX-License-Identifier: Apache-2.0

package wire

import "strconv"

// Lengths of the options that end something.
const (
	failLen      = 12
	fastCloseLen = 12
	resetLen     = 4
)

// ParseFail reads an MP_FAIL option (RFC 8684, section 3.7): the data sequence
// number from which on checksums were wrong.
func ParseFail(data []byte) (dsn uint64, ok bool) {
	if !is(data, MPFail, failLen) {
		return 0, false
	}
	return be.Uint64(data[2:]), true
}

// ParseFastClose reads an MP_FASTCLOSE option (section 3.5): the key of the
// receiver.
func ParseFastClose(data []byte) (key uint64, ok bool) {
	if !is(data, MPFastClose, fastCloseLen) {
		return 0, false
	}
	return be.Uint64(data[2:]), true
}

// Reset is an MP_TCPRST option (section 3.6).
type Reset struct {
	// Transient tells that another attempt may succeed.
	Transient bool
	Reason    ResetReason
}

// ParseReset reads an MP_TCPRST option.
func ParseReset(data []byte) (Reset, bool) {
	if !is(data, MPTCPRst, resetLen) {
		return Reset{}, false
	}
	return Reset{Transient: data[0]&1 != 0, Reason: ResetReason(data[1])}, true
}

// ResetReason is why a subflow was reset (RFC 8684, section 3.6).
type ResetReason uint8

var reasons = [...]string{
	"unspecified error", "MPTCP-specific error", "lack of resources", "administratively prohibited",
	"too much outstanding data", "unacceptable performance", "middlebox interference",
}

// String is the name that the RFC gives the reason.
func (r ResetReason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "reason " + strconv.Itoa(int(r))
}
