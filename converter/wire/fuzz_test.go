// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		b, err := v.message.AppendTo(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, "data for the server"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, n, err := Parse(b)
		if !bytes.Equal(before, b) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			checkFailure(t, b, m, n, err)
			return
		}
		if n < HeaderLen || n > len(b) || n > MaxLen {
			t.Fatalf("consumed %d of %d", n, len(b))
		}
		out, err := m.AppendTo(nil)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		again, n2, err := Parse(out)
		if err != nil || n2 != len(out) {
			t.Fatalf("cannot be read again: %d of %d, %v", n2, len(out), err)
		}
		if diff := cmp.Diff(m, again, compareAddr); diff != "" {
			t.Fatalf("differs (-first +second):\n%s", diff)
		}
		if len(out) > n {
			t.Fatalf("grew from %d to %d bytes", n, len(out))
		}
	})
}

// FuzzSYNACKOptions has what a server may put into its SYN-ACK: none of its keys
// is told, and what is not a key stays.
func FuzzSYNACKOptions(f *testing.F) {
	for _, seed := range []string{
		"\x02\x04\x05\xb4\x04\x02\x1e\x0c\x01\x01\x11\x22\x33\x44\x55\x66\x77\x88\x01\x03\x03\x0a",
		"\x01\x1e\x04\x01\x01\x22\xff", "\x1e\x02", "\x00\x1e\x0c\x01\x01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		list, listErr := ParseTCPOptions(before)
		capable := HasMPCapable(b)
		if !bytes.Equal(before, b) {
			t.Fatal("the input was changed")
		}
		blank := BlankMPTCPKeys(b)
		if len(blank) > len(before) || listErr == nil && len(blank) != len(before) {
			t.Fatalf("%d bytes became %d", len(before), len(blank))
		}
		blanked, err := ParseTCPOptions(blank)
		if err != nil || len(blanked) != len(list) || HasMPCapable(blank) != capable {
			t.Fatalf("%d options became %d, %v", len(list), len(blanked), err)
		}
		for i, o := range list {
			value := bytes.Clone(o.Value)
			if isMPCapable(o) && len(value) > mpCapableKey {
				clear(value[mpCapableKey:])
			}
			if blanked[i].Kind != o.Kind || !bytes.Equal(blanked[i].Value, value) {
				t.Fatalf("option %d, % x, became % x", o.Kind, o.Value, blanked[i].Value)
			}
		}
		out, err := AppendTCPOptions(nil, list)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseTCPOptions(out); err != nil || !cmp.Equal(again, list) {
			t.Fatalf("%v reads as %v, %v", list, again, err)
		}
	})
}

func checkFailure(t *testing.T, b []byte, m Message, n int, err error) {
	t.Helper()
	var pe *ParseError
	unsupported := errors.As(err, &pe) && pe.Code == UnsupportedMessage
	if !unsupported && (n != 0 || !cmp.Equal(m, Message{}, compareAddr)) {
		t.Fatalf("an error left %d, %+v", n, m)
	}
	switch {
	case err == ErrShort:
		if len(b) >= MaxLen {
			t.Fatalf("%d bytes are short", len(b))
		}
	case err == ErrNotConvert:
	case pe != nil:
		answer := Message{Error: &Error{Code: pe.Code, Value: pe.Value}}
		out, err := answer.AppendTo(nil)
		if err != nil {
			t.Fatalf("cannot be answered: %v", err)
		}
		if len(out) > max(2*HeaderLen, len(b)) {
			t.Fatalf("%d bytes answer %d", len(out), len(b))
		}
	default:
		t.Fatalf("unexpected error %v", err)
	}
}

// Parsing allocates in proportion to the message, whatever it holds.
func TestParseAllocatesLittle(t *testing.T) {
	options := make([]TCPOption, 490)
	for i := range options {
		options[i] = TCPOption{Kind: 254}
	}
	worst := Message{Connect: &Connect{Addr: addr6, Options: options}}
	b, err := worst.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := testing.Benchmark(func(b2 *testing.B) {
		for b2.Loop() {
			if _, _, err := Parse(b); err != nil {
				b2.Fatal(err)
			}
		}
	})
	if got := r.AllocedBytesPerOp(); got > 64<<10 {
		t.Errorf("%d bytes allocated for a message of %d", got, len(b))
	}
}

// genMessage draws any message that can be written and fits.
func genMessage() *rapid.Generator[Message] {
	return rapid.Custom(func(t *rapid.T) Message {
		body := func(name string, most int) []byte {
			return rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, name)
		}
		var m Message
		m.Info = rapid.Bool().Draw(t, "info")
		if rapid.Bool().Draw(t, "connect?") {
			c := &Connect{Port: rapid.Uint16().Draw(t, "port")}
			c.Addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr"))).Unmap()
			for range rapid.IntRange(0, 4).Draw(t, "options") {
				c.Options = append(c.Options, TCPOption{
					Kind:  uint8(rapid.IntRange(2, 255).Draw(t, "kind")),
					Value: body("value", 18),
				})
			}
			m.Connect = c
		}
		if rapid.Bool().Draw(t, "header?") {
			m.ExtendedTCPHeader = body("header", 40)
		}
		if rapid.Bool().Draw(t, "supported?") {
			m.Supported = rapid.SliceOfN(rapid.Uint8Range(3, 255), 0, 20).Draw(t, "supported")
		}
		if rapid.Bool().Draw(t, "cookie?") {
			m.Cookie = body("cookie", 64)
		}
		if rapid.Bool().Draw(t, "error?") {
			m.Error = &Error{Code: ErrorCode(rapid.Byte().Draw(t, "code")), Value: body("value", 64)}
		}
		for _, typ := range rapid.SliceOfNDistinct(rapid.Uint8Range(192, 255), 0, 3, rapid.ID).Draw(t, "private") {
			m.Private = append(m.Private, Private{Type: Type(typ), Body: body("body", 64)})
		}
		return m
	})
}

// What is written is what is read, up to padding; and reading does not depend
// on what follows.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMessage().Draw(t, "message")
		b, err := m.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		tail := rapid.SliceOf(rapid.Byte()).Draw(t, "tail")
		got, n, err := Parse(append(bytes.Clone(b), tail...))
		if err != nil || n != len(b) {
			t.Fatalf("read %d of %d, %v", n, len(b), err)
		}
		if diff := cmp.Diff(padded(m), got, compareAddr); diff != "" {
			t.Fatalf("message (-want +got):\n%s", diff)
		}
	})
}

// padded is m as it reads after the wire has padded it.
func padded(m Message) Message {
	pad := func(b []byte, offset int) []byte {
		if b == nil {
			return nil
		}
		b = append([]byte{}, b...)
		for (len(b)+offset)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	m.Version = Version
	m.ExtendedTCPHeader, m.Cookie = pad(m.ExtendedTCPHeader, 0), pad(m.Cookie, 0)
	if m.Error != nil {
		e := &Error{Code: m.Error.Code, Value: pad(m.Error.Value, 3)}
		if len(e.Value) == 0 {
			e.Value = []byte{0}
		}
		m.Error = e
	}
	list := m.Private
	m.Private = nil
	for _, p := range list {
		p.Body = pad(p.Body, 2)
		if len(p.Body) == 0 {
			p.Body = []byte{0, 0}
		}
		m.Private = append(m.Private, p)
	}
	return m
}
