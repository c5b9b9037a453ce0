// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	socks5 "github.com/armon/go-socks5"
)

const (
	version5     = 5 // RFC 1928 section 3
	version4     = 4 // the protocol before it
	authVersion  = 1 // RFC 1929 section 2
	authSuccess  = 0
	authFailure  = 1
	noAcceptable = 0xff // RFC 1928 section 3

	noAuth       = socks5.NoAuth
	userPassAuth = socks5.UserPassAuth
)

// Address types, RFC 1928 section 5.
const (
	typeIPv4   = 1
	typeDomain = 3
	typeIPv6   = 4
)

// addressLength says how long the address that begins with b is, type and port
// included: RFC 1928 section 5. ErrShort: the length is not known yet.
func addressLength(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, ErrShort
	}
	switch b[0] {
	case typeIPv4:
		return 1 + 4 + 2, nil
	case typeIPv6:
		return 1 + 16 + 2, nil
	case typeDomain:
		if len(b) < 2 {
			return 0, ErrShort
		}
		return 1 + 1 + int(b[1]) + 2, nil
	}
	return 0, fmt.Errorf("%w: type %d", ErrAddressType, b[0])
}

// parseAddress reads an address without allocating, unlike the codec of
// requests: it is called for every datagram. name is the part of b with the
// name, not checked, when the address is one; addr then has only the port.
func parseAddress(b []byte) (n int, addr netip.AddrPort, name []byte, err error) {
	n, err = addressLength(b)
	if err != nil {
		return 0, netip.AddrPort{}, nil, err
	}
	if len(b) < n {
		return 0, netip.AddrPort{}, nil, ErrShort
	}
	var ip netip.Addr
	if b[0] == typeDomain {
		name = b[2 : n-2]
	} else {
		ip, _ = netip.AddrFromSlice(b[1 : n-2])
	}
	return n, netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[n-2:n])), name, nil
}

// appendAddress appends an address; an invalid one becomes 0.0.0.0:0.
func appendAddress(dst []byte, a netip.AddrPort) []byte {
	ip := a.Addr().Unmap()
	switch {
	case !ip.IsValid():
		return append(dst, typeIPv4, 0, 0, 0, 0, 0, 0)
	case ip.Is4():
		b := ip.As4()
		dst = append(append(dst, typeIPv4), b[:]...)
	default:
		b := ip.As16()
		dst = append(append(dst, typeIPv6), b[:]...)
	}
	return binary.BigEndian.AppendUint16(dst, a.Port())
}

// appendName appends a name, of at most 255 bytes, and a port.
func appendName(dst []byte, name string, port uint16) []byte {
	dst = append(dst, typeDomain, byte(len(name)))
	dst = append(dst, name...)
	return binary.BigEndian.AppendUint16(dst, port)
}
