// SPDX-License-Identifier: Apache-2.0

package records

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"
)

// stamp writes times as RFC 3339 has them. Those that follow each other are mostly
// of one second, whose text it keeps.
type stamp struct {
	second int64
	text   []byte
}

func (s *stamp) append(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != s.second || s.text == nil {
		s.second, s.text = second, t.UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05")
	}
	b = append(b, s.text...)
	if n := uint(t.Nanosecond()); n > 0 {
		b = appendThousandth(append(b, '.'), n/1e6)
		b = appendThousandth(b, n/1e3%1e3)
		b = appendThousandth(b, n%1e3)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 'Z')
}

// quoted writes a string of which there are few, such as the name of a listener. It
// keeps the last one as JSON has it.
type quoted struct {
	of   string
	text []byte
}

func (q *quoted) append(b []byte, s string) []byte {
	if s != q.of || q.text == nil {
		q.of, q.text = s, appendString(q.text[:0], s)
	}
	return append(b, q.text...)
}

func digit(n uint) byte { return byte('0' + n%10) }

// appendThousandth appends a number below 1000 with leading zeros.
func appendThousandth(b []byte, n uint) []byte {
	return append(b, digit(n/100), digit(n/10), digit(n))
}

// appendSmall appends a number below 1000.
func appendSmall(b []byte, n uint) []byte {
	switch {
	case n < 10:
		return append(b, digit(n))
	case n < 100:
		return append(b, digit(n/10), digit(n))
	}
	return appendThousandth(b, n)
}

// appendGiven appends a field unless it is empty.
func appendGiven(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, key...), value)
}

// appendKnown appends an address unless it is not known.
func appendKnown(b []byte, key string, a netip.AddrPort) []byte {
	if !a.Addr().IsValid() {
		return b
	}
	return appendAddrPort(append(b, key...), a)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	switch ip := a.Addr(); {
	case ip.Is4():
		b = append(b, '"')
		for _, n := range ip.As4() {
			b = append(appendSmall(b, uint(n)), '.')
		}
		b[len(b)-1] = ':'
		return append(appendPort(b, uint(a.Port())), '"')
	case !ip.IsValid(), ip.Zone() != "": // which may be any name
		return appendString(b, a.String())
	}
	return append(a.AppendTo(append(b, '"')), '"')
}

func appendPort(b []byte, port uint) []byte {
	if port < 1000 {
		return appendSmall(b, port)
	}
	return appendThousandth(appendSmall(b, port/1000), port%1000)
}

// plain are the bytes that encoding/json leaves as they are, wherever they stand.
var plain = func() (p [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		p[c] = !strings.ContainsRune("\"\\<>&", rune(c))
	}
	return p
}()

// appendString appends a string as encoding/json has it.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			quoted, _ := json.Marshal(s) // never fails
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
