// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/proxy/policy"
)

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// lastPriority is that of the rule just before the one for table main.
const lastPriority = 32765

// Validate says everything that is wrong with the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !validName.MatchString(c.Name) {
		fail("name %q: want at most 64 letters, digits, - and _, with a letter first", c.Name)
	}
	if !c.Forwarded.on() && !c.Own.on() && !c.KeepClientAddresses {
		fail("nothing to intercept: want a listener for forwarded or for own traffic, or client addresses to be kept")
	}
	if c.Mark&^c.Mask != 0 {
		fail("mark %#x: has bits outside of mask %#x", c.Mark, c.Mask)
	}
	if c.OwnMark != 0 && c.OwnMark&c.Mask == c.Mark {
		fail("own mark %#x: the same as the mark %#x of intercepted packets (mask %#x)", c.OwnMark, c.Mark, c.Mask)
	}
	switch c.Table {
	case unix.RT_TABLE_DEFAULT, unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL:
		fail("routing table %d: belongs to the system, choose another", c.Table)
	}
	if c.Priority > lastPriority {
		fail("priority %d: want 1 to %d, before the rule of table main", c.Priority, lastPriority)
	}
	for _, a := range c.Upstreams {
		if !a.IsValid() || a.Zone() != "" {
			fail("upstream %v: want an address without a zone", a)
		}
	}
	if c.Forwarded.on() {
		errs = append(errs, within("forwarded traffic", c.Forwarded.validate()...)...)
	}
	if c.Own.on() {
		errs = append(errs, within("own traffic", c.Own.validate()...)...)
		if c.OwnMark == 0 {
			fail("own traffic: want a mark of own sockets, else they would be intercepted as well")
		}
	}
	return errors.Join(errs...)
}

func (f *Forwarded) validate() []error {
	errs := f.Capture.validate()
	if len(f.Interfaces) == 0 && len(f.Sources) == 0 {
		errs = append(errs, errors.New("want interfaces or prefixes that clients are on"))
	}
	for _, name := range f.Interfaces {
		if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/ \t\n\"*") {
			errs = append(errs, fmt.Errorf("interface %q: want a name of 1 to %d characters without spaces, / and *", name, unix.IFNAMSIZ-1))
		} else if name == "lo" {
			errs = append(errs, errors.New("interface lo: nothing is forwarded from there, intercept own traffic instead"))
		}
	}
	return append(errs, validatePrefixes("source", f.Sources)...)
}

func (o *Own) validate() []error {
	errs := o.Capture.validate()
	for _, to := range o.To {
		a := to.Addr().Unmap()
		if a.IsValid() && !a.IsUnspecified() && a != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && a != netip.IPv6Loopback() {
			errs = append(errs, fmt.Errorf("listener %v: want 127.0.0.1, ::1 or an unspecified address, where the kernel redirects to", to))
		}
	}
	if len(o.Exclude.MACs) > 0 {
		errs = append(errs, errors.New("excluded link-layer address: own traffic comes from none"))
	}
	return errs
}

func (c *Capture) validate() []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := map[bool]netip.AddrPort{}
	for _, to := range c.To {
		a := to.Addr().Unmap()
		switch {
		case !a.IsValid() || to.Port() == 0 || a.Zone() != "" || a.IsMulticast():
			fail("listener %v: want a unicast address without a zone, and a port", to)
			continue
		case seen[a.Is6()].IsValid():
			fail("listener %v: there is %v already, want one of each family", to, seen[a.Is6()])
		}
		seen[a.Is6()] = to
	}
	errs = append(errs, validatePorts("port", c.Ports)...)
	errs = append(errs, validatePorts("excluded port", c.Exclude.Ports)...)
	errs = append(errs, validatePrefixes("excluded destination", c.Exclude.Destinations)...)
	for _, d := range c.Exclude.DSCP {
		if d > 63 {
			fail("excluded DSCP %d: want 0 to 63", d)
		}
	}
	return errs
}

func validatePorts(what string, ports []policy.PortRange) []error {
	var errs []error
	for _, r := range ports {
		if r.From > r.To {
			errs = append(errs, fmt.Errorf("%s %v: range is upside down", what, r))
		}
	}
	return errs
}

func validatePrefixes(what string, ps []netip.Prefix) []error {
	var errs []error
	for _, p := range ps {
		switch {
		case !p.IsValid():
			errs = append(errs, fmt.Errorf("%s: not a valid prefix", what))
		case p.Addr().Is4In6():
			errs = append(errs, fmt.Errorf("%s %v: want it written as IPv4", what, p))
		case p != p.Masked():
			errs = append(errs, fmt.Errorf("%s %v: bits are set after the prefix, want %v", what, p, p.Masked()))
		}
	}
	return errs
}

func within(what string, errs ...error) []error {
	for i, err := range errs {
		errs[i] = fmt.Errorf("%s: %w", what, err)
	}
	return errs
}
