// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is a number with a unit: B, kB, MB, GB,
// KiB, MiB or GiB; 0 needs none.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	// The largest that divides a size is used for its text, binary ones first.
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

var errSize = errors.New("want a size with a unit, such as 64KiB or 4MiB")

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := parseSize(string(text))
	if err == nil && n > math.MaxInt32 {
		err = errors.New("want less than 2GiB") // sizes are for setsockopt, which takes an int
	}
	if err == nil {
		*s = Size(n)
	}
	return err
}

func parseSize(t string) (int64, error) {
	if t == "0" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(t, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(digits, " "), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			return 0, errSize
		}
		return n * u.bytes, nil
	}
	return 0, errSize
}

// Volume is a number of bytes over some time. Its text is that of a Size.
type Volume int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Volume) UnmarshalText(text []byte) error {
	n, err := parseSize(string(text))
	if err != nil {
		return errors.New("want a size with a unit, such as 500MB or 50GB")
	}
	*v = Volume(n)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (v Volume) MarshalText() ([]byte, error) { return Size(v).MarshalText() }

func (v Volume) String() string { return Size(v).String() }

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return ""
}

// Rate is a number of bits per second. Its text is a number with a unit: bit,
// kbit, Mbit or Gbit; 0 needs none.
type Rate uint64

var rateUnits = []struct {
	name string
	bits uint64
}{
	// The largest that divides a rate is used for its text.
	{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1},
}

var errRate = errors.New("want a rate with a unit, such as 500kbit or 4Mbit")

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	t := string(text)
	if t == "0" {
		*r = 0
		return nil
	}
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(t, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(digits, " "), 10, 63)
		if err != nil {
			return errRate
		}
		if n > 1e15/u.bits {
			return errors.New("want at most 1000000Gbit")
		}
		*r = Rate(n * u.bits)
		return nil
	}
	return errRate
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Rate) String() string {
	for _, u := range rateUnits {
		if r != 0 && uint64(r)%u.bits == 0 {
			return strconv.FormatUint(uint64(r)/u.bits, 10) + u.name
		}
	}
	return "0"
}

// DSCP is a Differentiated Services Code Point: 0 to 63, RFC 2474. Its text is
// the number or the name of a per-hop behaviour, such as ef or af41.
type DSCP uint8

// dscpNames are the names of RFC 2474 (cs), 2597 (af), 3246 (ef), 5865 (va) and
// 8622 (le).
var dscpNames = map[string]DSCP{
	"cs0": 0, "le": 1, "cs1": 8, "af11": 10, "af12": 12, "af13": 14, "cs2": 16, "af21": 18, "af22": 20,
	"af23": 22, "cs3": 24, "af31": 26, "af32": 28, "af33": 30, "cs4": 32, "af41": 34, "af42": 36, "af43": 38,
	"cs5": 40, "va": 44, "ef": 46, "cs6": 48, "cs7": 56,
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *DSCP) UnmarshalText(text []byte) error {
	if v, ok := dscpNames[strings.ToLower(string(text))]; ok {
		*d = v
		return nil
	}
	v, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil || v > 63 {
		return errors.New("want a DSCP: 0 to 63, or a name such as ef, af41 or cs6")
	}
	*d = DSCP(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d DSCP) MarshalText() ([]byte, error) {
	for name, v := range dscpNames {
		if v == d {
			return []byte(name), nil
		}
	}
	return strconv.AppendUint(nil, uint64(d), 10), nil
}

// MAC is a link-layer address of 48 bits.
type MAC [6]byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(text []byte) error {
	a, err := net.ParseMAC(string(text))
	if err != nil || len(a) != len(m) {
		return errors.New("want a link-layer address such as 00:53:00:12:34:56")
	}
	copy(m[:], a)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// NameServer is the address of a name server; its text may leave port 53 out.
type NameServer struct{ netip.AddrPort }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *NameServer) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil {
		n.AddrPort = netip.AddrPortFrom(a, 53)
		return nil
	}
	a, err := netip.ParseAddrPort(string(text))
	if err != nil || a.Port() == 0 {
		return errors.New("want an address, with a port if that is not 53, such as 192.0.2.53 or [2001:db8::53]:5353")
	}
	n.AddrPort = a
	return nil
}

// Target is a server: a name or an address, and a port.
type Target struct {
	Host string     // a name; empty if there is an address
	Addr netip.Addr // the address; invalid if there is a name
	Port uint16
}

var errTarget = errors.New("want a host and a port, such as www.example.com:443 or [2001:db8::80]:80")

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Target) UnmarshalText(text []byte) error {
	host, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return errTarget
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("want a port from 1 to 65535 after the host")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		*t = Target{Addr: a, Port: uint16(n)}
		return nil
	}
	if !isHostName(host) {
		return errTarget
	}
	*t = Target{Host: host, Port: uint16(n)}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

func (t Target) String() string {
	switch {
	case t.Port == 0:
		return ""
	case t.Host != "":
		return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
	}
	return netip.AddrPortFrom(t.Addr, t.Port).String()
}

// isHostName tells names that can be looked up from typing mistakes: labels of
// letters, digits, hyphens and underscores, not all of them numbers.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	labels := strings.Split(s, ".")
	if len(s) > 253 || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	return !slices.ContainsFunc(labels, func(l string) bool {
		return l == "" || len(l) > 63 || strings.ContainsFunc(l, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
		})
	})
}
