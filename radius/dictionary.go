// SPDX-License-Identifier: Apache-2.0

package radius

import (
	"encoding/binary"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
)

// Vendor is the number under which the attributes of deploy/radius/
// dictionary.tandem are sent: the one that RFC 5612 sets aside for documentation,
// as long as Tandem has none of its own.
const Vendor = 32473

// Attribute is one of Tandem's attributes.
type Attribute byte

// The attributes. Rates are in kbit/s, sizes in bytes.
const (
	RateUp             Attribute = 1  // integer
	RateDown           Attribute = 2  // integer
	Connections        Attribute = 3  // integer
	NewPerSecond       Attribute = 4  // integer
	Quota              Attribute = 5  // integer64
	QuotaPeriod        Attribute = 6  // integer: 0 month, 1 week, 2 day, 3 hour
	ReducedRate        Attribute = 7  // integer
	Options            Attribute = 8  // string: option=value;option=value
	MaxOptions         Attribute = 9  // string: option=value;option=value
	ForbidOptions      Attribute = 10 // string: option,option
	CongestionControls Attribute = 11 // string: name,name
	AccessNetwork      Attribute = 16 // string: name up down, in accounting records
)

// own calls f with each of Tandem's attributes in a packet. Others of the vendor,
// and those of other vendors, are not for us.
func own(p *radius.Packet, f func(Attribute, radius.Attribute) error) error {
	for _, avp := range p.Attributes {
		if avp.Type != rfc2865.VendorSpecific_Type {
			continue
		}
		vendor, rest, err := radius.VendorSpecific(avp.Attribute)
		if err != nil || vendor != Vendor {
			continue
		}
		for len(rest) > 0 {
			if len(rest) < 3 || int(rest[1]) < 3 || int(rest[1]) > len(rest) {
				return malformed("a Vendor-Specific attribute", "want type, length and value")
			}
			if err := f(Attribute(rest[0]), rest[2:rest[1]]); err != nil {
				return err
			}
			rest = rest[rest[1]:]
		}
	}
	return nil
}

// Add adds one of Tandem's attributes to a packet.
func Add(p *radius.Packet, a Attribute, value []byte) error {
	sub := append([]byte{byte(a), byte(2 + len(value))}, value...)
	attribute, err := radius.NewVendorSpecific(Vendor, sub)
	if err != nil || len(value) > 247 {
		return malformed("a Vendor-Specific attribute", "want at most 247 bytes")
	}
	p.Add(rfc2865.VendorSpecific_Type, attribute)
	return nil
}

// number reads an integer or an integer64.
func number(a Attribute, value []byte) (uint64, error) {
	switch {
	case a == Quota && len(value) == 8:
		return binary.BigEndian.Uint64(value), nil
	case len(value) == 4:
		return uint64(binary.BigEndian.Uint32(value)), nil
	}
	return 0, malformed("attribute "+a.String(), "want an integer")
}

var attributeNames = map[Attribute]string{
	RateUp: "Tandem-Rate-Up", RateDown: "Tandem-Rate-Down", Connections: "Tandem-Connections",
	NewPerSecond: "Tandem-New-Per-Second", Quota: "Tandem-Quota", QuotaPeriod: "Tandem-Quota-Period",
	ReducedRate: "Tandem-Reduced-Rate", Options: "Tandem-Options", MaxOptions: "Tandem-Max-Options",
	ForbidOptions: "Tandem-Forbid-Options", CongestionControls: "Tandem-Congestion-Controls", AccessNetwork: "Tandem-Access-Network",
}

// String is the name of the attribute in the dictionary.
func (a Attribute) String() string { return attributeNames[a] }
