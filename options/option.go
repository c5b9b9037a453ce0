// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Option is one of the options. Its value is the type byte on the wire,
// without the echo bit.
type Option uint8

// The options.
const (
	Scheduler         Option = 1 + iota // which paths carry the next bytes
	SubflowRateLimit                    // caps the rate of a path
	DelayThreshold                      // when other paths are used beside the first
	InactivityTimeout                   // how long a connection without data, or without a path, is kept
	CongestionControl                   // the congestion control of the sender
	InitialWindow                       // the sender's initial congestion window
	UserTimeout                         // how long data may stay unacknowledged (RFC 5482)
	DelayedACK                          // when the receiver acknowledges

	end // one after the last one
)

// Count is how many options there are.
const Count = int(end) - 1

// Value is the three bytes of an option on the wire, the first one highest.
// What it means depends on the option; see the table of the package.
type Value uint32

// maxValue is what fits three bytes.
const maxValue = 1<<24 - 1

// ErrRange is a value that the option cannot have, in any of its forms.
var ErrRange = errors.New("out of range")

// A descriptor is all that is known about an option.
type descriptor struct {
	name    string
	takes   string // how a value looks, for error messages and help
	about   string // what the option does, for help
	example string // a value, for help
	// parse reads what print writes, and more: an error says what is wanted.
	parse func(string) (Value, error)
	print func(Value) string
	// check returns the one form that values of the same meaning have.
	check func(Value) (Value, error)
	none  Value // leaves it to the kernel: the word "default"
	// atMost is the smaller of a value and a limit; nil if there is no smaller.
	atMost func(v, limit Value) Value
	// floor raises values that are too small to work; nil if none is.
	floor func(Value) Value
	// onSubflow is what OnSubflow returns; nil if it is no socket option of subflows.
	onSubflow func(Value) (uint32, error)
}

var table = [end]descriptor{
	Scheduler:         scheduler,
	SubflowRateLimit:  rateLimit,
	DelayThreshold:    delayThreshold,
	InactivityTimeout: inactivityTimeout,
	CongestionControl: congestionControl,
	InitialWindow:     initialWindow,
	UserTimeout:       userTimeout,
	DelayedACK:        delayedACK,
}

// All lists the options in the order of their types.
func All() iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for o := Scheduler; o < end; o++ {
			if !yield(o) {
				return
			}
		}
	}
}

// Known reports whether o is an option.
func (o Option) Known() bool { return o != 0 && o < end }

// String is the name of the option, such as subflow-rate-limit.
func (o Option) String() string {
	if !o.Known() {
		return fmt.Sprintf("option %d", uint8(o))
	}
	return table[o].name
}

// Takes says how values look, such as "a rate, such as 4Mbit".
func (o Option) Takes() string { return table[o].takes }

// About says in one sentence what the option does.
func (o Option) About() string { return table[o].about }

// Example is a value as it is written.
func (o Option) Example() string { return table[o].example }

// Capped reports whether a limit on values makes sense.
func (o Option) Capped() bool { return o.Known() && table[o].atMost != nil }

// OnSubflow is a value as a socket option of subflows, in the unit that
// bpf/kernel/options.h has for it: 0 leaves it to the kernel, or to something else
// than a socket option. The error says why no kernel can.
func (o Option) OnSubflow(v Value) (uint32, error) {
	if !o.Known() || table[o].onSubflow == nil {
		return 0, nil
	}
	return table[o].onSubflow(v)
}

// MarshalText implements encoding.TextMarshaler.
func (o Option) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Option) UnmarshalText(text []byte) (err error) {
	*o, err = Named(string(text))
	return err
}

// ErrUnknown is a name or a type that no option has.
var ErrUnknown = errors.New("no such option")

// Named returns the option of a name, or ErrUnknown with the names there are.
func Named(name string) (Option, error) {
	for o := range All() {
		if table[o].name == name {
			return o, nil
		}
	}
	return 0, fmt.Errorf("%w: want one of %s", ErrUnknown, strings.Join(Names(), ", "))
}

// Names are the names of all options.
func Names() []string {
	names := make([]string, 0, Count)
	for o := range All() {
		names = append(names, table[o].name)
	}
	return names
}

// byDefault is the text of a value that leaves it to the kernel.
const byDefault = "default"

// Parse reads the text of a value. The error wraps ErrRange or says what is
// wanted.
func (o Option) Parse(text string) (Value, error) {
	if !o.Known() {
		return 0, ErrUnknown
	}
	d := &table[o]
	if text == byDefault {
		return d.none, nil
	}
	v, err := d.parse(text)
	if err == nil {
		v, err = d.check(v)
	}
	if err != nil {
		return 0, fmt.Errorf("%w; want %s", err, d.takes)
	}
	return v, nil
}

// Text is the inverse of Parse.
func (o Option) Text(v Value) string {
	switch {
	case !o.Known():
		return fmt.Sprintf("0x%06x", uint32(v))
	case v == table[o].none:
		return byDefault
	}
	return table[o].print(v)
}

// Check returns the form that values of the same meaning have in a Set, or
// ErrRange.
func (o Option) Check(v Value) (Value, error) {
	if !o.Known() {
		return 0, ErrUnknown
	}
	if v == table[o].none {
		return v, nil
	}
	if v > maxValue {
		return 0, ErrRange
	}
	return table[o].check(v)
}

// Default is the value that leaves it to the kernel.
func (o Option) Default() Value { return table[o].none }
