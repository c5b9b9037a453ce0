// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"errors"
	"fmt"
	"net/netip"
)

// maxDatagramHeader is the longest header with an address in it: RFC 1928
// section 7. Those that the relay sends never have a name.
const maxDatagramHeader = 3 + 1 + 16 + 2

var errFragment = errors.New("socks: fragmented datagram")

// parseDatagram takes the header off a client's datagram: RFC 1928 section 7.
// name is not checked; with one addr has only the port. Fragments are refused,
// as the section asks of implementations that do not support them. The reserved
// bytes are not looked at: nothing depends on them and clients exist that
// leave there what they find.
func parseDatagram(b []byte) (payload []byte, addr netip.AddrPort, name []byte, err error) {
	if len(b) < 4 {
		return nil, addr, nil, fmt.Errorf("%w: datagram of %d bytes", ErrMalformed, len(b))
	}
	if b[2] != 0 {
		return nil, addr, nil, errFragment
	}
	n, addr, name, err := parseAddress(b[3:])
	if err != nil {
		return nil, netip.AddrPort{}, nil, fmt.Errorf("%w: datagram: %w", ErrMalformed, err)
	}
	return b[3+n:], addr, name, nil
}

// appendDatagramHeader appends the header of a datagram that came from addr.
func appendDatagramHeader(dst []byte, addr netip.AddrPort) []byte {
	return appendAddress(append(dst, 0, 0, 0), addr)
}
