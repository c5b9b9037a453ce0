// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

var errPorts = errors.New("want a port or a range of ports, such as 443 or 8000-8080")

// ParsePortRange is the inverse of PortRange.String.
func ParsePortRange(s string) (PortRange, error) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return PortRange{}, errPorts
	}
	to, err := strconv.ParseUint(last, 10, 16)
	if err != nil {
		return PortRange{}, errPorts
	}
	if from > to {
		return PortRange{}, fmt.Errorf("port range is upside down: want %d-%d", to, from)
	}
	return PortRange{uint16(from), uint16(to)}, nil
}

// MarshalText implements encoding.TextMarshaler.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *PortRange) UnmarshalText(text []byte) (err error) {
	*r, err = ParsePortRange(string(text))
	return err
}

// ParseRule is the inverse of Rule.String. It also takes an address instead of
// a prefix, "port" for "ports", and spaces after commas.
func ParseRule(s string) (Rule, error) {
	where, ports, limited := strings.Cut(strings.TrimSpace(s), " ")
	prefix, err := ParsePrefix(where)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Prefix: prefix}
	if !limited {
		return r, nil
	}
	keyword, list, _ := strings.Cut(strings.TrimSpace(ports), " ")
	if keyword != "ports" && keyword != "port" {
		return Rule{}, fmt.Errorf("%q after the prefix: want \"ports\" and a list of them, such as %v ports 80,8000-8080", keyword, prefix)
	}
	for p := range strings.SplitSeq(list, ",") {
		ports, err := ParsePortRange(strings.TrimSpace(p))
		if err != nil {
			return Rule{}, fmt.Errorf("port %q: %w", strings.TrimSpace(p), err)
		}
		r.Ports = append(r.Ports, ports)
	}
	return r, nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRule(string(text))
	return err
}

// ParsePrefix reads a prefix, or an address that stands for itself alone. Bits
// set after the prefix are a mistake: whoever writes 192.0.2.7/24 may have
// meant 192.0.2.0/24 or 192.0.2.7/32.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, errors.New("want a prefix without a zone")
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("want a prefix such as 192.0.2.0/24 or 2001:db8::/32")
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("bits are set after the prefix: want %v, or %v/%d for the address alone", p.Masked(), p.Addr(), p.Addr().BitLen())
	}
	return p, nil
}
