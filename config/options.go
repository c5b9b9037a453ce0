// SPDX-License-Identifier: Apache-2.0

package config

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/tandem-gateway/tandem/options"
)

// ListenerOptions say which options the connections of clients have, and what
// clients may choose; see docs/options.md.
type ListenerOptions struct {
	// What connections have whose clients do not ask for something else.
	Defaults OptionValues `yaml:"defaults"`

	// The ways in which clients may ask: `tcp-option`, `convert` (in the
	// request) and `socks` (behind the user name). None if not given.
	Accept []OptionWay `yaml:"accept"`

	// Prefixes of clients that may ask; all that are served if not given.
	From []netip.Prefix `yaml:"from"`

	// The most that clients get.
	Caps OptionCaps `yaml:"caps"`

	// Options that clients have no say in.
	Forbid []OptionName `yaml:"forbid"`

	// Congestion controls that clients may choose from; all if not given.
	CongestionControls []string `yaml:"congestion-controls"`

	// Prefixes of clients whose initial-window is honoured. One that is forged
	// would have much sent to somebody else.
	Trusted []netip.Prefix `yaml:"trusted"`
}

// Ask says what is asked of the servers of an upstream, which have to be
// Tandems to understand it; see docs/options.md.
type Ask struct {
	// How it is asked: in the request of the protocol that the upstream speaks
	// (`request`), or in TCP options of MPTCP connections (`tcp-option`).
	By AskWay `yaml:"by"`

	// What for.
	Options OptionValues `yaml:"options"`
}

// OptionValues are values of options of connections; those not given are left
// as they are.
type OptionValues map[OptionName]OptionValue

// OptionCaps are the most that clients get of options; those not given are
// bounded by what is safe.
type OptionCaps map[CappedOption]OptionValue

// OptionValue is the text of a value of an option.
type OptionValue string

// UnmarshalText takes any text, which is looked at once it is known of which
// option it is the value.
func (v *OptionValue) UnmarshalText(text []byte) error {
	*v = OptionValue(text)
	return nil
}

// Set is the values as the rest of the program knows them. They were found
// valid before.
func (o OptionValues) Set() options.Set { return setOf(o) }

func setOf[Name ~string](section map[Name]OptionValue) options.Set {
	var s options.Set
	for option, text := range given(section) {
		if value, err := option.Parse(text); err == nil {
			s, _ = s.With(option, value)
		}
	}
	return s
}

// given are the values that a section has, by option and in the order of the table.
func given[Name ~string](section map[Name]OptionValue) iter.Seq2[options.Option, string] {
	return func(yield func(options.Option, string) bool) {
		for option := range options.All() {
			if text, is := section[Name(option.String())]; is && !yield(option, string(text)) {
				return
			}
		}
	}
}

// OptionName is the name of an option.
type OptionName string

func (OptionName) values() []string { return options.Names() }

// CappedOption is the name of an option of which there is a most.
type CappedOption string

func (CappedOption) values() (names []string) {
	for o := range options.All() {
		if o.Capped() {
			names = append(names, o.String())
		}
	}
	return names
}

// OptionWay is a way in which clients ask for options.
type OptionWay string

func (OptionWay) values() []string {
	return []string{options.FromSOCKS.String(), options.FromConvert.String(), options.FromTCPOption.String()}
}

// AskWay is a way in which the servers of an upstream are asked for options.
type AskWay string

// The ways.
const (
	AskByRequest   AskWay = "request"
	AskByTCPOption AskWay = "tcp-option"
)

func (AskWay) values() []string { return []string{string(AskByRequest), string(AskByTCPOption)} }

// Policy is the options of a listener as the rest of the program knows them.
func (o *ListenerOptions) Policy() options.Policy {
	p := options.Policy{
		Defaults: o.Defaults.Set(), From: o.From,
		Caps: options.Caps{Max: setOf(o.Caps), CongestionControls: o.CongestionControls, Trusted: o.Trusted},
	}
	for _, w := range o.Accept {
		var s options.Source
		if s.UnmarshalText([]byte(w)) == nil {
			p.Accept = append(p.Accept, s)
		}
	}
	p.Caps.Forbid = namedOptions(o.Forbid)
	return p
}

// namedOptions are options by their names, which were found valid before.
func namedOptions(names []OptionName) (list []options.Option) {
	for _, name := range names {
		if option, err := options.Named(string(name)); err == nil {
			list = append(list, option)
		}
	}
	return list
}

// Bounds are what clients of the subscriber may ask for, as the rest of the program
// knows it.
func (o *SubscriberOptions) Bounds() options.Caps {
	return options.Caps{Max: setOf(o.Caps), Forbid: namedOptions(o.Forbid), CongestionControls: o.CongestionControls}
}

// Accepts reports whether clients may ask in a way.
func (o *ListenerOptions) Accepts(way options.Source) bool {
	return slices.Contains(o.Accept, OptionWay(way.String()))
}

// UsesOptions reports whether connections may have options that eBPF programs
// put into force, and whether clients may ask for them in TCP options.
func (c *Config) UsesOptions() (steering, requests bool) {
	for i := range c.Listeners {
		o := &c.Listeners[i].Options
		steering = steering || len(o.Defaults) > 0 || len(o.Accept) > 0
		requests = requests || o.Accepts(options.FromTCPOption)
	}
	for i := range c.Subscribers.Policies {
		steering = steering || len(c.Subscribers.Policies[i].Options.Defaults) > 0
	}
	for i := range c.Upstreams {
		if a := c.Upstreams[i].Ask; a != nil && a.By == AskByTCPOption {
			steering = true
		}
	}
	return steering, requests
}
