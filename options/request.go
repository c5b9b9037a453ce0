// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Source is who chose a value.
type Source uint8

// The sources, the weakest first. The clients' are from FromSYN to FromSOCKS.
const (
	FromKernel     Source = iota // nobody: the kernel's default
	FromListener                 // the listener's defaults
	FromSubscriber               // the subscriber's policy
	FromSYN                      // a TCP option in the client's SYN
	FromTCPOption                // a TCP option later on
	FromConvert                  // a Convert TLV
	FromSOCKS                    // a SOCKS5 user name
	FromOperator                 // the operator, on the live connection
)

var sourceNames = [...]string{
	"kernel", "listener", "subscriber", "syn", "tcp-option", "convert", "socks", "operator",
}

func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source %d", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Source) UnmarshalText(text []byte) error {
	for i, name := range sourceNames {
		if name == string(text) {
			*s = Source(i)
			return nil
		}
	}
	return fmt.Errorf("%s is no source of options", printable(string(text)))
}

// MaxBad is how many mistakes of a request are kept; the others are counted.
const MaxBad = 4

// Bad is a part of a request that could not be understood.
type Bad struct {
	Text   string // what was sent, quoted and cut
	Option Option // 0 if not known
	Why    Why    // Unknown, OutOfRange or Malformed
	Detail string
}

// Request is what a client asks for. The zero value asks for nothing.
type Request struct {
	From Source
	Set  Set
	Bad  []Bad // at most MaxBad
	More int   // further mistakes
}

// Empty reports whether nothing is asked, not even by mistake.
func (r *Request) Empty() bool { return r.Set.Empty() && len(r.Bad) == 0 && r.More == 0 }

func (r *Request) bad(b Bad) {
	if len(r.Bad) >= MaxBad {
		r.More++
		return
	}
	r.Bad = append(slices.Clip(r.Bad), b)
}

// Add takes over what other asks for, which counts for more. Mistakes of both
// are kept as far as there is room.
func (r *Request) Add(other *Request) {
	r.From, r.Set = other.From, other.Set.Over(r.Set)
	for _, b := range other.Bad {
		r.bad(b)
	}
	r.More += other.More
}

// add takes a value that parsed as err says.
func (r *Request) add(text string, o Option, v Value, err error) {
	if err == nil && r.Set.Has(o) {
		err = ErrTwice
	}
	if err == nil {
		r.Set, err = r.Set.With(o, v)
	}
	if err != nil {
		r.bad(Bad{Text: text, Option: o, Why: whyOf(err), Detail: err.Error()})
	}
}

func whyOf(err error) Why {
	switch {
	case errors.Is(err, ErrUnknown):
		return Unknown
	case errors.Is(err, ErrRange):
		return OutOfRange
	}
	return Malformed
}

// ParseRequest reads the options behind a SOCKS5 user name:
// "scheduler=primary;subflow-rate-limit=4Mbit". Mistakes do not spoil the
// rest. Of an option that is given twice the first value counts.
func ParseRequest(text string) Request {
	r := Request{From: FromSOCKS}
	for item := range strings.SplitSeq(text, separator) {
		if item != "" {
			o, v, err := parseItem(item)
			r.add(printable(item), o, v, err)
		}
	}
	return r
}
