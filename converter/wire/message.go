// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Private is a TLV for private use (RFC 8803, section 6.2).
type Private struct {
	// Type is 192 to 255.
	Type Type
	// Body is what follows type and length. Parsed, it includes the padding
	// and is two bytes longer than a multiple of four.
	Body []byte
}

// Message is a Convert message. Each TLV is there at most once, which the
// structure expresses; private ones are checked.
type Message struct {
	// Version of the protocol; zero is written as Version.
	Version uint8
	// Info asks for Supported.
	Info bool
	// Connect asks for a connection.
	Connect *Connect
	// ExtendedTCPHeader is the options of the server's SYN-ACK; nil if absent.
	ExtendedTCPHeader []byte
	// Supported lists the option kinds that the converter serves; nil if absent.
	Supported []uint8
	// Cookie is the client's cookie; nil if absent.
	Cookie []byte
	// Error says that the request failed.
	Error *Error
	// Private are the private TLVs, in the order they came.
	Private []Private
}

// Parse decodes the message at the start of b, which is everything received so
// far, and returns how many bytes it occupies. It waits for the whole message
// before it looks at the TLVs.
//
// The error is ErrShort, ErrNotConvert or a *ParseError; m is then empty and n
// zero. The exception is UnsupportedMessage: m then holds the TLVs that are
// known, so that a caller who does not serve some of those either can name them
// all. Slices in m alias b.
func Parse(b []byte) (m Message, n int, err error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Message{}, 0, err
	}
	if len(b) < h.Len {
		return Message{}, 0, ErrShort
	}
	m.Version = h.Version
	unknown, err := m.parseTLVs(b[HeaderLen:h.Len:h.Len])
	if err != nil {
		return Message{}, 0, err
	}
	if unknown != nil {
		return m, h.Len, &ParseError{
			Code:   UnsupportedMessage,
			Value:  unknown,
			Reason: fmt.Sprintf("unknown TLVs %d", unknown),
		}
	}
	return m, h.Len, nil
}

// parseTLVs fills m and returns the types that are not known.
func (m *Message) parseTLVs(b []byte) (unknown []byte, err error) {
	var seen [256]bool
	for len(b) > 0 {
		t, body, rest, err := nextTLV(b)
		if err != nil {
			return nil, err
		}
		if seen[t] {
			return nil, malformed("%s: more than once", t)
		}
		seen[t] = true
		known, err := m.parseTLV(t, body)
		if err != nil {
			return nil, err
		}
		if !known {
			unknown = append(unknown, byte(t))
		}
		b = rest
	}
	return unknown, nil
}

func (m *Message) parseTLV(t Type, body []byte) (known bool, err error) {
	switch {
	case t == TypeInfo:
		m.Info = true
		err = parseInfo(body)
	case t == TypeConnect:
		m.Connect, err = parseConnect(body)
	case t == TypeExtendedTCPHeader:
		m.ExtendedTCPHeader = parseExtendedTCPHeader(body)
	case t == TypeSupported:
		m.Supported = parseSupported(body)
	case t == TypeCookie:
		m.Cookie = parseCookie(body)
	case t == TypeError:
		m.Error = parseError(body)
	case t.Private():
		m.Private = append(m.Private, Private{Type: t, Body: body})
	default:
		return false, nil
	}
	return true, err
}

// AppendTo appends the encoding of m to b. TLVs are written in the order of
// their types, private ones last and as given. On error b is returned as it
// was: ErrTooLong, or what cannot be expressed.
func (m *Message) AppendTo(b []byte) ([]byte, error) {
	version := m.Version
	if version == 0 {
		version = Version
	}
	start := len(b)
	out, err := m.appendTLVs(appendHeader(b, version))
	if err != nil {
		return b, err
	}
	n := len(out) - start
	if n > MaxLen {
		return b, fmt.Errorf("%w: %d bytes", ErrTooLong, n)
	}
	out[start+1] = byte(n / wordLen)
	return out, nil
}

func (m *Message) appendTLVs(b []byte) (_ []byte, err error) {
	if m.Info {
		if b, err = appendInfo(b); err != nil {
			return nil, err
		}
	}
	if m.Connect != nil {
		if b, err = m.Connect.appendTo(b); err != nil {
			return nil, err
		}
	}
	if m.ExtendedTCPHeader != nil {
		if b, err = appendExtendedTCPHeader(b, m.ExtendedTCPHeader); err != nil {
			return nil, err
		}
	}
	if m.Supported != nil {
		if b, err = appendSupported(b, m.Supported); err != nil {
			return nil, err
		}
	}
	if m.Cookie != nil {
		if b, err = appendCookie(b, m.Cookie); err != nil {
			return nil, err
		}
	}
	if m.Error != nil {
		if b, err = m.Error.appendTo(b); err != nil {
			return nil, err
		}
	}
	return appendPrivate(b, m.Private)
}

func appendPrivate(b []byte, list []Private) (_ []byte, err error) {
	var seen [256]bool
	for _, p := range list {
		if !p.Type.Private() || seen[p.Type] {
			return nil, fmt.Errorf("%s: not a private type, or more than once", p.Type)
		}
		seen[p.Type] = true
		if b, err = appendTLV(b, p.Type, p.Body); err != nil {
			return nil, err
		}
	}
	return b, nil
}
