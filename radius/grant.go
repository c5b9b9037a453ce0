// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"github.com/tandem-gateway/tandem/options"
	"github.com/tandem-gateway/tandem/subscribers"
)

// ErrMalformed is for attributes that cannot be what they say.
var ErrMalformed = errors.New("malformed")

func malformed(what, expected string) error {
	return fmt.Errorf("radius: %s is %w: %s", what, ErrMalformed, expected)
}

// grantOf reads what an Access-Accept or a CoA-Request says about a subscriber.
// One that cannot be understood is an error: it may have been meant to limit.
func grantOf(p *radius.Packet) (subscribers.Grant, error) {
	var g subscribers.Grant
	for _, avp := range p.Attributes {
		switch avp.Type {
		case rfc2865.FilterID_Type:
			if g.Changes.Policy != "" {
				return g, malformed("a second Filter-Id", "want the name of one policy")
			}
			g.Changes.Policy = string(avp.Attribute)
		case rfc2865.Class_Type:
			g.Class = append(g.Class, slices.Clone(avp.Attribute))
		}
	}
	var err error
	if g.Changes.Lifetime, err = seconds(p, rfc2865.SessionTimeout_Type, "Session-Timeout"); err != nil {
		return g, err
	}
	if g.Changes.Idle, err = seconds(p, rfc2865.IdleTimeout_Type, "Idle-Timeout"); err != nil {
		return g, err
	}
	interim, err := seconds(p, rfc2869.AcctInterimInterval_Type, "Acct-Interim-Interval")
	if err != nil {
		return g, err
	}
	if interim != nil {
		g.Interim = max(*interim, leastInterim)
	}
	return g, own(p, func(a Attribute, value radius.Attribute) error { return change(&g.Changes, a, value) })
}

// leastInterim is how often accounting records of one session may be asked for
// (RFC 2869 section 5.16 says that it should be no less than ten minutes, and
// must be no less than one).
const leastInterim = time.Minute

// seconds reads a duration, or nil if there is none.
func seconds(p *radius.Packet, t radius.Type, name string) (*time.Duration, error) {
	value, ok := p.Lookup(t)
	if !ok {
		return nil, nil
	}
	n, err := radius.Integer(value)
	if err != nil {
		return nil, malformed(name, "want a number of seconds")
	}
	d := time.Duration(n) * time.Second
	return &d, nil
}

// change notes what one of Tandem's attributes says.
func change(c *subscribers.Changes, a Attribute, value []byte) error {
	if a >= Options && a <= CongestionControls {
		if err := changeOptions(c, a, string(value)); err != nil {
			return fmt.Errorf("radius: %s: %w: %w", a, ErrMalformed, err)
		}
		return nil
	}
	if a < RateUp || a > ReducedRate {
		return nil // newer than we are, or not for us
	}
	n, err := number(a, value)
	if err != nil {
		return err
	}
	const kbit = 1000 / 8
	rate := n * kbit
	switch a {
	case RateUp:
		c.Up = &rate
	case RateDown:
		c.Down = &rate
	case ReducedRate:
		c.Reduced = &rate
	case Quota:
		c.Quota = &n
	case Connections:
		count := int(min(n, 1<<31-1))
		c.Connections = &count
	case NewPerSecond:
		perSecond := float64(n)
		c.NewPerSecond = &perSecond
	case QuotaPeriod:
		period := subscribers.Period(min(n, 255))
		if _, err := subscribers.ParsePeriod(period.String()); err != nil {
			return malformed(a.String(), "want 0 (month), 1 (week), 2 (day) or 3 (hour)")
		}
		c.Period = &period
	}
	return nil
}

// changeOptions notes what is said about options of connections.
func changeOptions(c *subscribers.Changes, a Attribute, text string) error {
	switch a {
	case Options, MaxOptions:
		set, err := options.ParseSet(text)
		if err != nil {
			return err
		}
		if a == Options {
			c.Options = &set
			return options.CheckOwn(set)
		}
		for o := range set.All() {
			if !o.Capped() {
				return fmt.Errorf("%s has no greatest value", o)
			}
		}
		c.MaxOptions = &set
	case ForbidOptions:
		var list []options.Option
		for name := range strings.SplitSeq(text, ",") {
			o, err := options.Named(name)
			if err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
			list = append(list, o)
		}
		c.ForbidOptions = &list
	case CongestionControls:
		list := strings.Split(text, ",")
		for _, name := range list {
			if !slices.Contains(options.CongestionControls(), name) {
				return fmt.Errorf("%q is none of %s", name, strings.Join(options.CongestionControls(), ", "))
			}
		}
		c.CongestionControls = &list
	}
	return nil
}
