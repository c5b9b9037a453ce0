// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// connectLen is the body of a Connect TLV without options: port and address.
const connectLen = 2 + 16

// errConnectAddr is an address that a Connect TLV cannot express.
var errConnectAddr = errors.New("connect: address is missing or has a zone")

// Connect is the Connect TLV (RFC 8803, section 6.2.5): the server that the
// converter is to connect to.
type Connect struct {
	Port uint16
	// Addr is never an IPv4-mapped IPv6 address once parsed: on the wire
	// IPv4 addresses are, and what means the same is written the same here.
	Addr netip.Addr
	// Options are those that the client wants offered to the server.
	Options []TCPOption
}

func parseConnect(body []byte) (*Connect, error) {
	if len(body) < connectLen {
		return nil, malformed("%s: too short for port and address", TypeConnect)
	}
	options, err := ParseTCPOptions(body[connectLen:])
	if err != nil {
		return nil, malformed("%s: %v", TypeConnect, err)
	}
	return &Connect{
		Port:    binary.BigEndian.Uint16(body),
		Addr:    netip.AddrFrom16([16]byte(body[2:connectLen])).Unmap(),
		Options: options,
	}, nil
}

func (c *Connect) appendTo(b []byte) ([]byte, error) {
	if !c.Addr.IsValid() || c.Addr.Zone() != "" {
		return b, errConnectAddr
	}
	var fixed [connectLen]byte
	binary.BigEndian.PutUint16(fixed[:], c.Port)
	addr := c.Addr.As16()
	copy(fixed[2:], addr[:])
	options, err := AppendTCPOptions(nil, c.Options)
	if err != nil {
		return b, err
	}
	return appendTLV(b, TypeConnect, fixed[:], options)
}
