// SPDX-License-Identifier: Apache-2.0

package options

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Set is a choice of options with their values. The zero value says nothing of
// any; sets can be compared. Values in a Set are in range.
type Set struct {
	has    uint16 // bit per option
	values [end]Value
}

// ErrTwice is an option that is given twice.
var ErrTwice = errors.New("given twice")

// Empty reports whether the set says nothing.
func (s Set) Empty() bool { return s.has == 0 }

// IsZero is Empty, for encoders that leave out what is.
func (s Set) IsZero() bool { return s.Empty() }

// Has reports whether the set says something of o.
func (s Set) Has(o Option) bool { return o.Known() && s.has&(1<<o) != 0 }

// Value returns what the set says of o, if it does.
func (s Set) Value(o Option) (Value, bool) {
	if !s.Has(o) {
		return 0, false
	}
	return s.values[o], true
}

// With returns the set with another value for o. The error is ErrRange or
// ErrUnknown; the set is then returned as it was.
func (s Set) With(o Option, v Value) (Set, error) {
	v, err := o.Check(v)
	if err != nil {
		return s, err
	}
	s.has |= 1 << o
	s.values[o] = v
	return s, nil
}

// Without returns the set with nothing to say of o.
func (s Set) Without(o Option) Set {
	if o.Known() {
		s.has &^= 1 << o
		s.values[o] = 0
	}
	return s
}

// Effective returns the set without the values that leave it to the kernel.
func (s Set) Effective() Set {
	for o, v := range s.All() {
		if v == o.Default() {
			s = s.Without(o)
		}
	}
	return s
}

// Over returns what s says, and below where s says nothing.
func (s Set) Over(below Set) Set {
	for o, v := range s.All() {
		below.has |= 1 << o
		below.values[o] = v
	}
	return below
}

// All lists what the set says, in the order of the options.
func (s Set) All() iter.Seq2[Option, Value] {
	return func(yield func(Option, Value) bool) {
		for o := range All() {
			if s.Has(o) && !yield(o, s.values[o]) {
				return
			}
		}
	}
}

// String is "scheduler=primary;delay-threshold=30ms", what ParseSet reads.
func (s Set) String() string {
	var list []string
	for o, v := range s.All() {
		list = append(list, o.String()+"="+o.Text(v))
	}
	return strings.Join(list, separator)
}

const separator = ";"

// ParseSet is the inverse of Set.String. It refuses what it does not
// understand; see ParseRequest for what clients send.
func ParseSet(text string) (Set, error) {
	var s Set
	if text == "" {
		return s, nil
	}
	for item := range strings.SplitSeq(text, separator) {
		o, v, err := parseItem(item)
		if err == nil && s.Has(o) {
			err = ErrTwice
		}
		if err != nil {
			return Set{}, fmt.Errorf("%s: %w", printable(item), err)
		}
		s, _ = s.With(o, v)
	}
	return s, nil
}

// errItem is neither a name nor a value.
var errItem = errors.New("want option=value")

// parseItem reads "option=value". The option is returned as far as it is known.
func parseItem(item string) (Option, Value, error) {
	name, text, ok := strings.Cut(item, "=")
	o, err := Named(name)
	switch {
	case err != nil:
		return 0, 0, err
	case !ok:
		return o, 0, errItem
	}
	v, err := o.Parse(text)
	return o, v, err
}

// MarshalText implements encoding.TextMarshaler.
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Set) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSet(string(text))
	return err
}

// Texts are the texts of the values by option.
func (s Set) Texts() map[string]string {
	m := make(map[string]string, Count)
	for o, v := range s.All() {
		m[o.String()] = o.Text(v)
	}
	return m
}

// MarshalJSON writes an object with a text for each option.
func (s Set) MarshalJSON() ([]byte, error) { return json.Marshal(s.Texts()) }

// MarshalYAML writes a section with a text for each option.
func (s Set) MarshalYAML() (any, error) { return s.Texts(), nil }

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *Set) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("want an object of options with their values as text: %w", err)
	}
	*s = Set{}
	for name, text := range m {
		o, err := Named(name)
		if err != nil {
			return fmt.Errorf("%s: %w", printable(name), err)
		}
		v, err := o.Parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*s, _ = s.With(o, v)
	}
	return nil
}

// printable is what was sent, fit for a log: quoted, and cut where it gets
// long.
func printable(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
