// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/tandem-gateway/tandem/proxy"
)

// Information Elements of the IANA registry "IP Flow Information Export
// (IPFIX) Entities" (RFC 5102, RFC 8158).
const (
	protocolIdentifier       = 4
	sourceTransportPort      = 7
	sourceIPv4Address        = 8
	destinationTransportPort = 11
	destinationIPv4Address   = 12
	sourceIPv6Address        = 27
	destinationIPv6Address   = 28
	flowEndReason            = 136
	flowStartMilliseconds    = 152
	flowEndMilliseconds      = 153
	postNATSourceIPv4        = 225
	postNATDestinationIPv4   = 226
	postNAPTSourcePort       = 227
	postNAPTDestinationPort  = 228
	initiatorOctets          = 231
	responderOctets          = 232
	postNATSourceIPv6        = 281
	postNATDestinationIPv6   = 282
	userName                 = 371
)

const (
	ipfixVersion  = 10
	headerLength  = 16 // of a message, RFC 7011 section 3.1
	setHeader     = 4
	templateSet   = 2
	firstTemplate = 256    // RFC 7011 section 3.4.1
	variable      = 0xffff // the length of fields that begin with their length
	// maxMessage fits a packet of 1,280 bytes, which every IPv6 path takes, with
	// the headers of IPv6 and UDP.
	maxMessage = 1232
	maxUser    = 255
)

// families tell which addresses of a record are IPv6. Each combination has a
// template of its own.
type families uint8

const (
	clientIPv6 families = 1 << iota
	serverIPv6
	localIPv6
	allFamilies = 1 << iota
)

// field is one element of a template.
type field struct{ element, length uint16 }

func choose(six bool, v4, v6 uint16) field {
	if six {
		return field{v6, 16}
	}
	return field{v4, 4}
}

// fields are those of the records of some families, in their order.
func (f families) fields() []field {
	return []field{
		{flowStartMilliseconds, 8},
		{flowEndMilliseconds, 8},
		choose(f&clientIPv6 != 0, sourceIPv4Address, sourceIPv6Address),
		{sourceTransportPort, 2},
		choose(f&serverIPv6 != 0, destinationIPv4Address, destinationIPv6Address),
		{destinationTransportPort, 2},
		choose(f&localIPv6 != 0, postNATSourceIPv4, postNATSourceIPv6),
		{postNAPTSourcePort, 2},
		choose(f&serverIPv6 != 0, postNATDestinationIPv4, postNATDestinationIPv6),
		{postNAPTDestinationPort, 2},
		{protocolIdentifier, 1},
		{flowEndReason, 1},
		{initiatorOctets, 8},
		{responderOctets, 8},
		{userName, variable},
	}
}

func familiesOf(r *proxy.Record) (f families) {
	six := func(a netip.AddrPort, bit families) {
		if a.Addr().Is6() && !a.Addr().Is4In6() {
			f |= bit
		}
	}
	six(r.Client, clientIPv6)
	six(r.Server, serverIPv6)
	six(r.Local, localIPv6)
	return f
}

// appendTemplates appends a set with all templates.
func appendTemplates(b []byte) []byte {
	start := len(b)
	b = append(b, 0, templateSet, 0, 0)
	for f := range families(allFamilies) {
		fields := f.fields()
		b = binary.BigEndian.AppendUint16(b, firstTemplate+uint16(f))
		b = binary.BigEndian.AppendUint16(b, uint16(len(fields)))
		for _, field := range fields {
			b = binary.BigEndian.AppendUint16(b, field.element)
			b = binary.BigEndian.AppendUint16(b, field.length)
		}
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}

// appendRecord appends a data record, as the template of its families says.
func appendRecord(b []byte, r *proxy.Record, f families) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Start.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Start.Add(r.Duration).UnixMilli()))
	b = appendAddress(b, r.Client, f&clientIPv6 != 0)
	b = appendAddress(b, r.Server, f&serverIPv6 != 0)
	b = appendAddress(b, r.Local, f&localIPv6 != 0)
	b = appendAddress(b, r.Server, f&serverIPv6 != 0)
	protocol := byte(6)
	if r.Command == proxy.Associate {
		protocol = 17
	}
	b = append(b, protocol, endReasons[endingOf(r.Err)])
	b = binary.BigEndian.AppendUint64(b, r.Up)
	b = binary.BigEndian.AppendUint64(b, r.Down)
	user := r.User[:min(len(r.User), maxUser)]
	if len(user) < 255 {
		b = append(b, byte(len(user)))
	} else {
		b = append(b, 255, 0, 255) // RFC 7011 section 7: the length in the two bytes after 255
	}
	return append(b, user...)
}

// appendAddress appends an address, or zeros if it is not known, and the port.
func appendAddress(b []byte, a netip.AddrPort, six bool) []byte {
	switch ip := a.Addr(); {
	case six:
		all := ip.As16()
		b = append(b, all[:]...)
	case !ip.IsValid():
		b = append(b, 0, 0, 0, 0)
	default:
		all := ip.Unmap().As4()
		b = append(b, all[:]...)
	}
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// endReasons are values of flowEndReason.
var endReasons = map[Ending]byte{Idle: 1, Complete: 3, Broken: 3, Forced: 4, Scarce: 5}

// encoder makes messages.
type encoder struct {
	domain   uint32
	sequence uint32 // data records in the messages before
}

// messages appends records to messages, which begin with the templates if those
// are wanted, and passes each to send. It returns how many records were sent.
// A message that was not sent counts as sent: the collector sees that it is
// missing.
func (e *encoder) messages(batch []entry, templates bool, now time.Time, send func([]byte) error) (int, error) {
	buffer := make([]byte, headerLength, maxMessage)
	done := 0
	if templates {
		buffer = appendTemplates(buffer)
	}
	for done < len(batch) || templates {
		n := 0
		for set, of := 0, families(0); done+n < len(batch); n++ {
			r := &batch[done+n].record
			f := familiesOf(r)
			before := len(buffer)
			if set == 0 || f != of {
				set, of = len(buffer), f
				buffer = binary.BigEndian.AppendUint16(buffer, firstTemplate+uint16(f))
				buffer = append(buffer, 0, 0)
			}
			buffer = appendRecord(buffer, r, f)
			if len(buffer) > maxMessage {
				buffer = buffer[:before]
				break
			}
			binary.BigEndian.PutUint16(buffer[set+2:], uint16(len(buffer)-set))
		}
		e.head(buffer, now)
		e.sequence += uint32(n)
		if err := send(buffer); err != nil {
			return done, err
		}
		done += n
		buffer, templates = buffer[:headerLength], false
	}
	return done, nil
}

func (e *encoder) head(b []byte, now time.Time) {
	binary.BigEndian.PutUint16(b, ipfixVersion)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[4:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(b[8:], e.sequence)
	binary.BigEndian.PutUint32(b[12:], e.domain)
}
