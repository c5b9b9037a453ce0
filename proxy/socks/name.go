// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseName checks the text of a host name. When it is the text of an address
// that is returned, otherwise the result is not valid. Names are those that
// the DNS can have (RFC 1035 section 2.3.4) of letters, digits, hyphens,
// underscores and dots; nothing else is looked up, logged or passed on.
func ParseName(name string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Zone() != "" {
			// A zone names an interface of the client, not of the proxy.
			return netip.Addr{}, fmt.Errorf("%w: IPv6 address with a zone: %q", ErrAddressType, name)
		}
		return ip.Unmap(), nil
	}
	trimmed := strings.TrimSuffix(name, ".")
	if trimmed == "" || len(trimmed) > 253 {
		return netip.Addr{}, fmt.Errorf("%w: %d bytes long", ErrName, len(name))
	}
	label := 0
	for i := range len(trimmed) {
		c := trimmed[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return netip.Addr{}, fmt.Errorf("%w: %q", ErrName, name)
		}
		if label > 63 {
			return netip.Addr{}, fmt.Errorf("%w: label of more than 63 bytes in %q", ErrName, name)
		}
	}
	if label == 0 {
		return netip.Addr{}, fmt.Errorf("%w: %q", ErrName, name)
	}
	return netip.Addr{}, nil
}
