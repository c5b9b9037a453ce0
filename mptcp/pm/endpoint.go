// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Flags of an endpoint: MPTCP_PM_ADDR_FLAG_*. See ip-mptcp(8).
type Flags uint32

// The flags.
const (
	Signal   Flags = 1 << iota // announce the address to peers (ADD_ADDR, RFC 8684 section 3.4.1)
	Subflow                    // open subflows from the address
	Backup                     // its subflows are backups (RFC 8684 section 3.3.8)
	Fullmesh                   // with Subflow: to every address of the peer
	Implicit                   // made by the kernel for an address that a subflow uses
	Laminar                    // Linux 6.18: answer announced addresses from this one
)

var flagNames = [...]string{"signal", "subflow", "backup", "fullmesh", "implicit", "laminar"}

// String returns the names of the flags as ip-mptcp(8) has them, with commas
// between them, and unknown ones as a number.
func (f Flags) String() string {
	var names []string
	for i, name := range flagNames {
		if bit := Flags(1) << i; f&bit != 0 {
			names = append(names, name)
			f &^= bit
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	return strings.Join(names, ",")
}

// Endpoint is a local address that a path manager may use: one of the
// namespace, or, in commands with a token, one of a connection.
type Endpoint struct {
	// ID is the address identifier that peers see (RFC 8684 section 3.2). One
	// ID stands for one address of a connection, as long as the connection
	// lives. 0 is the address of the first subflow, and lets AddEndpoint choose.
	ID   uint8
	Addr netip.Addr
	// Port to announce with Signal, or to connect from; 0 is the port of the
	// connection, or any.
	Port  uint16
	Flags Flags
	// IfIndex is the interface of the address; 0 leaves it to routing.
	IfIndex int
}

var (
	errNoAddress = errors.New("no address")
	errZone      = errors.New("IPv6 zone not accepted: give the interface")
)

// encode writes a nested address.
func (e Endpoint) encode(ae *netlink.AttributeEncoder) error {
	if e.Addr.IsValid() {
		if e.Addr.Zone() != "" {
			return fmt.Errorf("%w: %s", errZone, e.Addr)
		}
		if e.Addr.Is4() {
			ae.Uint16(addrFamily, unix.AF_INET)
			ae.Bytes(addrAddr4, e.Addr.AsSlice())
		} else {
			ae.Uint16(addrFamily, unix.AF_INET6)
			ae.Bytes(addrAddr6, e.Addr.AsSlice())
		}
	}
	if e.ID != 0 {
		ae.Uint8(addrID, e.ID)
	}
	if e.Port != 0 {
		ae.Uint16(addrPort, e.Port)
	}
	if e.Flags != 0 {
		ae.Uint32(addrFlags, uint32(e.Flags))
	}
	if e.IfIndex != 0 {
		ae.Int32(addrIfIndex, int32(e.IfIndex))
	}
	return nil
}

// decode reads a nested address.
func (e *Endpoint) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case addrID:
			e.ID = ad.Uint8()
		case addrAddr4, addrAddr6:
			ad.Do(func(b []byte) (err error) {
				e.Addr, err = address(b)
				return err
			})
		case addrPort:
			e.Port = ad.Uint16()
		case addrFlags:
			e.Flags = Flags(ad.Uint32())
		case addrIfIndex:
			e.IfIndex = int(ad.Int32())
		}
	}
	return nil
}

// address reads 4 or 16 bytes, an IPv4-mapped address as IPv4.
func address(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return a, fmt.Errorf("address of %d bytes", len(b))
	}
	return a.Unmap(), nil
}

// parseEndpoint reads the attributes of an answer to cmdGetAddr.
func parseEndpoint(b []byte) (Endpoint, error) {
	var e Endpoint
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return e, err
	}
	found := false
	for ad.Next() {
		if ad.Type() == attrAddr {
			found = true
			ad.Nested(e.decode)
		}
	}
	if err := ad.Err(); err != nil {
		return Endpoint{}, err
	}
	if !found {
		return Endpoint{}, errNoAddress
	}
	return e, nil
}

// local puts e in as the local address of a command.
func (e Endpoint) local(ae *netlink.AttributeEncoder) error {
	e.Addr = e.Addr.Unmap()
	return e.nest(ae, attrAddr)
}

func (e Endpoint) nest(ae *netlink.AttributeEncoder, attribute uint16) error {
	var failure error
	ae.Nested(attribute, func(nae *netlink.AttributeEncoder) error {
		failure = e.encode(nae)
		return failure
	})
	return failure
}
