// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"strconv"
	"strings"
)

// Token identifies an MPTCP connection on its host (RFC 8684 section 3.1). Its
// text is that of ss and ip mptcp monitor: eight hexadecimal digits.
type Token uint32

// String is the text of a token.
func (t Token) String() string { return fmt.Sprintf("%08x", uint32(t)) }

// MarshalText implements encoding.TextMarshaler.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a token, with or without 0x.
func (t *Token) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(string(b), "0x"), 16, 32)
	if err != nil {
		return fmt.Errorf("%q is no token: want up to eight hexadecimal digits, as ss -M shows them", b)
	}
	*t = Token(n)
	return nil
}
