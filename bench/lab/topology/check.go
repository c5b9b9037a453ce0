// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"

	"github.com/tandem-gateway/tandem/bench/lab/emulator"
)

var (
	hostName = regexp.MustCompile(`^[a-z0-9]{1,24}$`)
	// A link's name is that of its devices.
	linkName = regexp.MustCompile(`^[a-z][a-z0-9]{0,14}$`)
)

// check reports what the types cannot tell.
func (f *File) check(d *decoder) {
	if len(f.Hosts) == 0 && len(d.problems) == 0 {
		d.bad(d.places[f], "no hosts")
	}
	for name, h := range f.Hosts {
		if h == nil {
			f.Hosts[name] = new(Host)
			continue
		}
		if !hostName.MatchString(name) {
			d.bad(d.places[h], "host name %q is not made of 1 to 24 lower-case letters and digits", name)
		}
		for i := range h.Routes {
			r := &h.Routes[i]
			if !r.To.IsValid() && !r.Via.IsValid() {
				d.bad(d.places[r], "a route needs a destination in to")
			} else if r.Via.IsValid() && r.To.IsValid() && r.Via.Is4() != r.To.Addr().Is4() {
				d.bad(d.places[r], "via %s is not in the family of %s", r.Via, r.To.Prefix)
			}
		}
		for i := range h.Rules {
			if r := &h.Rules[i]; !r.From.IsValid() || r.Table == 0 {
				d.bad(d.places[r], "a rule needs from and table")
			}
		}
		for i := range h.Endpoints {
			if e := &h.Endpoints[i]; !e.Address.IsValid() || e.Dev == "" {
				d.bad(d.places[e], "an endpoint needs address and dev")
			}
		}
	}
	for name, k := range f.Links {
		f.checkLink(d, name, k)
	}
	for i := range f.Script {
		s := &f.Script[i]
		if _, err := f.parse(s.Set); err != nil {
			d.bad(d.places[s], "%v", err)
		}
	}
}

func (f *File) checkLink(d *decoder, name string, k *Link) {
	if k == nil {
		return
	}
	n := d.places[k]
	if !linkName.MatchString(name) {
		d.bad(n, "link name %q is not made of 1 to 15 lower-case letters and digits, a letter first", name)
	}
	for _, end := range []*Attachment{&k.A, &k.B} {
		if f.Hosts[end.Host] == nil {
			d.bad(n, "link %s: no host %q", name, end.Host)
		}
	}
	if k.A.Host == k.B.Host {
		d.bad(n, "link %s: both ends are on %s", name, k.A.Host)
	}
	forth, back, err := k.conditions()
	if err = errors.Join(err, forth.Check(), back.Check()); err != nil {
		d.bad(n, "link %s: %s", name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// conditions are those of both directions.
func (k *Link) conditions() (forth, back emulator.Conditions, err error) {
	var errs []error
	for _, set := range []struct {
		values map[string]string
		to     []*emulator.Conditions
	}{{k.Both, []*emulator.Conditions{&forth, &back}}, {k.Forth, []*emulator.Conditions{&forth}}, {k.Back, []*emulator.Conditions{&back}}} {
		for _, c := range set.to {
			for _, name := range properties {
				if value, ok := set.values[name]; ok {
					errs = append(errs, setProperty(c, name, value))
				}
			}
			errs = append(errs, unknownProperty(set.values))
		}
	}
	return forth, back, errors.Join(errs...)
}

// Destination is a prefix, or default, which takes the family of via.
type Destination struct{ netip.Prefix }

// UnmarshalText reads a prefix or the word default.
func (t *Destination) UnmarshalText(text []byte) (err error) {
	if string(text) == "default" {
		return nil
	}
	t.Prefix, err = netip.ParsePrefix(string(text))
	return err
}
