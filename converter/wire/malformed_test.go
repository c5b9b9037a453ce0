// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const connectHex = "0a 05 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01"

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name  string
		hex   string
		code  ErrorCode
		value []byte
	}{
		{"version 0", "00 01 22 63", UnsupportedVersion, []byte{1}},
		{"version 2", "02 01 22 63", UnsupportedVersion, []byte{1}},
		{"version 2, message incomplete", "02 06 22 63 0a", UnsupportedVersion, []byte{1}},
		{"version before length", "02 00 22 63", UnsupportedVersion, []byte{1}},
		{"total length 0", "01 00 22 63", MalformedMessage, nil},
		{"TLV length 0", "01 02 22 63 01 00 00 00", MalformedMessage, nil},
		{"unknown TLV length 0", "01 02 22 63 2a 00 00 00", MalformedMessage, nil},
		{"private TLV length 0", "01 02 22 63 e0 00 00 00", MalformedMessage, nil},
		{"TLV overruns", "01 02 22 63 16 02 00 00", MalformedMessage, nil},
		{"TLV overruns into the data that follows", "01 02 22 63 16 02 00 00 41 42 43 44", MalformedMessage, nil},
		{"second TLV overruns", "01 03 22 63 01 01 00 00 16 02 00 00", MalformedMessage, nil},
		{"info twice", "01 03 22 63 01 01 00 00 01 01 00 00", MalformedMessage, nil},
		{"connect twice", "01 0b 22 63" + connectHex + connectHex, MalformedMessage, nil},
		{"cookie twice", "01 05 22 63 16 02 00 00 01 02 03 04 16 02 00 00 01 02 03 04", MalformedMessage, nil},
		{"extended header twice", "01 03 22 63 14 01 00 00 14 01 00 00", MalformedMessage, nil},
		{"supported twice", "01 03 22 63 15 01 00 00 15 01 00 00", MalformedMessage, nil},
		{"error twice", "01 03 22 63 1e 01 60 00 1e 01 60 00", MalformedMessage, nil},
		{"private twice", "01 03 22 63 e0 01 00 00 e0 01 00 00", MalformedMessage, nil},
		{"unknown twice", "01 03 22 63 2a 01 00 00 2a 01 00 00", MalformedMessage, nil},
		{"info too long", "01 03 22 63 01 02 00 00 00 00 00 00", MalformedMessage, nil},
		{"connect too short", "01 05 22 63 0a 04 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff", MalformedMessage, nil},
		{"option length 0", "01 07 22 63 0a 06 00 50 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01 1e 00 00 00", MalformedMessage, nil},
		{"option length 1", "01 07 22 63 0a 06 00 50 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01 1e 01 00 00", MalformedMessage, nil},
		{"option overruns", "01 07 22 63 0a 06 00 50 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01 1e 05 00 00", MalformedMessage, nil},
		{"option without length", "01 07 22 63 0a 06 00 50 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01 01 01 01 1e", MalformedMessage, nil},
		{"reserved type 0", "01 02 22 63 00 01 00 00", UnsupportedMessage, []byte{0}},
		{"unknown type", "01 02 22 63 2a 01 00 00", UnsupportedMessage, []byte{42}},
		{"all unknown types are named", "01 08 22 63 2a 01 00 00" + connectHex + "bf 01 00 00", UnsupportedMessage, []byte{42, 191}},
		{"malformed wins over unknown", "01 03 22 63 2a 01 00 00 01 00 00 00", MalformedMessage, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, n, err := Parse(unhex(t, test.hex))
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("got %+v, %v", m, err)
			}
			if pe.Code != test.code || pe.Reason == "" {
				t.Errorf("got code %d (%v), want %d", pe.Code, pe, test.code)
			}
			if diff := cmp.Diff(test.value, pe.Value); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
			if test.code == UnsupportedMessage {
				return
			}
			if n != 0 || !cmp.Equal(m, Message{}, compareAddr) {
				t.Errorf("left %d, %+v", n, m)
			}
		})
	}
}

// The known TLVs beside an unknown one are there to be judged with it.
func TestUnknownLeavesTheRest(t *testing.T) {
	m, n, err := Parse(unhex(t, "01 04 22 63 2a 01 00 00 01 01 00 00 e0 01 00 00"))
	if err == nil || n != 16 || !m.Info || len(m.Private) != 1 {
		t.Errorf("got %+v, %d, %v", m, n, err)
	}
}

func TestNotConvert(t *testing.T) {
	for _, in := range []string{
		"GET / HTTP/1.1\r\n", "GET", "\x16\x03\x01\x02", "\x05\x01\x00", "\x01\x06\x22\x64",
		"\x01\x06\x23", "SSH-2.0-", "\x02\x00\x63\x22", "\x00\x00\x00\x00\x00\x00",
	} {
		if _, n, err := Parse([]byte(in)); err != ErrNotConvert || n != 0 {
			t.Errorf("%q: got %d, %v", in, n, err)
		}
	}
	// Two bytes or a matching third one decide nothing.
	for _, in := range []string{"", "G", "GE", "\x01\x06\x22"} {
		if _, _, err := Parse([]byte(in)); err != ErrShort {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

// Be liberal: bytes that mean nothing are not looked at.
func TestReservedBytesAreIgnored(t *testing.T) {
	tests := []struct {
		name, hex string
		want      Message
	}{
		{"info", "01 02 22 63 01 01 de ad", Message{Version: 1, Info: true}},
		{"cookie", "01 03 22 63 16 02 de ad 01 02 03 04", Message{Version: 1, Cookie: []byte{1, 2, 3, 4}}},
		{"extended header", "01 03 22 63 14 02 de ad 01 01 04 02", Message{Version: 1, ExtendedTCPHeader: []byte{1, 1, 4, 2}}},
		{"supported", "01 03 22 63 15 02 de ad 1e 00 00 00", Message{Version: 1, Supported: []uint8{30}}},
		{"supported kinds 0 to 2", "01 03 22 63 15 02 00 00 01 1e 02 00", Message{Version: 1, Supported: []uint8{30}}},
		{
			"no-operation and bytes after the end of list",
			"01 08 22 63 0a 07 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01 01 04 02 01 00 ff ff ff",
			Message{Version: 1, Connect: &Connect{
				Port: 443, Addr: addr4,
				Options: []TCPOption{{Kind: KindSACKPermitted, Value: []byte{}}},
			}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := Parse(unhex(t, test.hex))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, compareAddr); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// Present and empty is not absent.
func TestEmptyTLVs(t *testing.T) {
	in := unhex(t, "01 04 22 63 14 01 00 00 15 01 00 00 16 01 00 00")
	m, _, err := Parse(in)
	if err != nil {
		t.Fatal(err)
	}
	if m.ExtendedTCPHeader == nil || m.Supported == nil || m.Cookie == nil {
		t.Errorf("an empty TLV was lost: %+v", m)
	}
	out, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("encoding (-want +got):\n%s", diff)
	}
}
