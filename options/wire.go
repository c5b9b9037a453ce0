// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
)

const (
	// RecordLen is the length of a record: its type and the three bytes of its
	// value. The TCP option has one of them, the Convert TLV any number.
	RecordLen = 4
	// MaxRecords is how many records one Convert TLV may have: more than there
	// are options, so that newer peers can be understood.
	MaxRecords = 32

	echoBit = 0x80
)

// ErrMalformed is a list of records that cannot be one: cut short, too long,
// with two records of one type, one of type 0, or echoes among requests.
var ErrMalformed = errors.New("malformed options")

// Record is one option on the wire.
type Record struct {
	Option Option // may be unknown; 1 to 127
	Echo   bool   // says what was granted
	Value  Value  // as it came: see Option.Check
}

// Append appends the record to b.
func (r Record) Append(b []byte) []byte {
	t := byte(r.Option) &^ echoBit
	if r.Echo {
		t |= echoBit
	}
	return append(b, t, byte(r.Value>>16), byte(r.Value>>8), byte(r.Value))
}

// ParseRecord reads the record at the start of b, which has RecordLen bytes or
// more.
func ParseRecord(b []byte) (Record, error) {
	if len(b) < RecordLen {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	r := Record{
		Option: Option(b[0] &^ echoBit),
		Echo:   b[0]&echoBit != 0,
		Value:  Value(b[1])<<16 | Value(b[2])<<8 | Value(b[3]),
	}
	if r.Option == 0 {
		return Record{}, fmt.Errorf("%w: type 0", ErrMalformed)
	}
	return r, nil
}

// AppendRecords appends one record for each option of the set.
func (s Set) AppendRecords(b []byte, echo bool) []byte {
	for o, v := range s.All() {
		b = Record{Option: o, Echo: echo, Value: v}.Append(b)
	}
	return b
}

// ReadRecords reads the records of a Convert TLV, all of them echoes or none.
// Options that are unknown and values that are out of range are among the bad
// ones of the request; the error is ErrMalformed.
func ReadRecords(b []byte, echo bool) (Request, error) {
	if len(b)%RecordLen != 0 || len(b) > MaxRecords*RecordLen {
		return Request{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	req := Request{From: FromConvert}
	var seen [echoBit]bool
	for ; len(b) > 0; b = b[RecordLen:] {
		r, err := ParseRecord(b)
		switch {
		case err != nil:
			return Request{}, err
		case seen[r.Option]:
			return Request{}, fmt.Errorf("%w: %s twice", ErrMalformed, r.Option)
		case r.Echo != echo:
			return Request{}, fmt.Errorf("%w: %s is an echo: %t", ErrMalformed, r.Option, r.Echo)
		}
		seen[r.Option] = true
		req.add(fmt.Sprintf("% x", b[:RecordLen]), r.Option, r.Value, nil)
	}
	return req, nil
}
