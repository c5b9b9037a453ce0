// SPDX-License-Identifier: Apache-2.0

package wire

import "net/netip"

// Address is an ADD_ADDR option (RFC 8684, section 3.4.1).
type Address struct {
	ID uint8
	// Echo tells that the address was received (version 1).
	Echo bool
	Addr netip.Addr
	Port uint16 // 0: that of the connection
}

// addAddrHMAC is the length of the code that version 1 adds to what is no echo.
const addAddrHMAC = 8

// ParseAddress reads an ADD_ADDR option. Version 0 has the IP version where
// version 1 has flags, and no code.
func ParseAddress(data []byte) (Address, bool) {
	if len(data) < 2 || Subtype(data[0]>>4) != AddAddr {
		return Address{}, false
	}
	const flagEcho = 0x01
	flags := data[0] & 0xf
	a := Address{ID: data[1]}
	rest := data[2:]
	switch flags {
	case 4, 6: // version 0
	default:
		a.Echo = flags&flagEcho != 0
		if !a.Echo {
			if len(rest) < addAddrHMAC {
				return Address{}, false
			}
			rest = rest[:len(rest)-addAddrHMAC]
		}
	}
	switch len(rest) {
	case 4, 6:
		a.Addr, rest = netip.AddrFrom4([4]byte(rest)), rest[4:]
	case 16, 18:
		a.Addr, rest = netip.AddrFrom16([16]byte(rest)), rest[16:]
	default:
		return Address{}, false
	}
	if len(rest) > 0 {
		a.Port = be.Uint16(rest)
	}
	return a, true
}

// ParseRemoved reads a REMOVE_ADDR option (section 3.4.2): the IDs of addresses,
// as a part of data.
func ParseRemoved(data []byte) ([]byte, bool) {
	if len(data) < 2 || Subtype(data[0]>>4) != RemoveAddr {
		return nil, false
	}
	return data[1:], true
}

// Priority is an MP_PRIO option (section 3.3.8).
type Priority struct {
	Backup bool
	// AddressID is that of the subflows that are meant; version 0 only.
	AddressID uint8
	OfAddress bool
}

// ParsePriority reads an MP_PRIO option.
func ParsePriority(data []byte) (Priority, bool) {
	if len(data) < 1 || len(data) > 2 || Subtype(data[0]>>4) != MPPrio {
		return Priority{}, false
	}
	p := Priority{Backup: data[0]&joinFlagBackup != 0}
	if len(data) == 2 {
		p.OfAddress, p.AddressID = true, data[1]
	}
	return p, true
}
