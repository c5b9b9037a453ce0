// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncodeRefuses(t *testing.T) {
	tests := map[string]Message{
		"no address":             {Connect: &Connect{Port: 1}},
		"zone":                   {Connect: &Connect{Port: 1, Addr: netip.MustParseAddr("fe80::1%eth0")}},
		"option kind 0":          {Connect: &Connect{Addr: addr4, Options: []TCPOption{{Kind: 0}}}},
		"option kind 1":          {Connect: &Connect{Addr: addr4, Options: []TCPOption{{Kind: 1}}}},
		"option too long":        {Connect: &Connect{Addr: addr4, Options: []TCPOption{{Kind: 254, Value: make([]byte, 254)}}}},
		"supported kind 2":       {Supported: []uint8{4, 2}},
		"type not private":       {Private: []Private{{Type: 191}}},
		"private twice":          {Private: []Private{{Type: 224}, {Type: 224}}},
		"TLV too long":           {Cookie: make([]byte, 1017)},
		"message too long by 4":  {Cookie: make([]byte, 1013)},
		"message of several":     {Cookie: make([]byte, 600), Error: &Error{Value: make([]byte, 600)}},
		"private body too long":  {Private: []Private{{Type: 192, Body: make([]byte, 1024)}}},
		"extended header":        {ExtendedTCPHeader: make([]byte, 1017)},
		"error value":            {Error: &Error{Value: make([]byte, 1018)}},
		"info with a full error": {Info: true, Error: &Error{Value: make([]byte, 1013)}},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := m.AppendTo([]byte("kept"))
			if err == nil || string(b) != "kept" {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
}

func TestEncodeLongest(t *testing.T) {
	m := Message{Cookie: make([]byte, MaxLen-HeaderLen-4)}
	b, err := m.AppendTo(nil)
	if err != nil || len(b) != MaxLen || b[1] != 255 {
		t.Fatalf("got %d bytes, %v", len(b), err)
	}
	if _, n, err := Parse(b); err != nil || n != MaxLen {
		t.Errorf("reading it back: %d, %v", n, err)
	}
	m.Cookie = append(m.Cookie, 0)
	if _, err := m.AppendTo(nil); !errors.Is(err, ErrTooLong) {
		t.Errorf("one more byte: %v", err)
	}
}

func TestErrorValue(t *testing.T) {
	e := Error{Code: UnsupportedTCPOption, Value: []byte{29, 28, 0, 0, 0}}
	if diff := cmp.Diff([]uint8{29, 28}, e.List()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if e.Cookie() != nil {
		t.Error("a cookie in an error that carries none")
	}
	c := MissingCookieError([]byte("biscuit!"))
	if got := string(c.Cookie()); got != "biscuit!" {
		t.Errorf("cookie %q", got)
	}
	if got := (&Error{Code: MissingCookie}).Cookie(); got != nil {
		t.Errorf("cookie %q", got)
	}
}

func TestMPCapable(t *testing.T) {
	const key = "1122334455667788"
	tests := []struct {
		name, in, blank string
		capable         bool
	}{
		{"absent", "020405b4 0402", "020405b4 0402", false},
		{"present", "020405b4 0402 1e0c0101" + key + "0103030a", "020405b4 0402 1e0c0101 0000000000000000 0103030a", true},
		{"a join is not", "1e0c1001" + key, "1e0c1001" + key, false},
		{"without key", "1e040101", "1e040101", true},
		{"without subtype", "1e02", "1e02", false},
		{"after the end of list", "0000 1e0c0101" + key, "0000 1e0c0101" + key, false},
		{"cut off where it breaks", "01 0402 1e0c0101 1122", "01 0402", false},
		{"broken after", "1e040101 22ff", "1e040101", true},
		{"empty", "", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := unhex(t, test.in)
			if got := HasMPCapable(in); got != test.capable {
				t.Errorf("capable: %v", got)
			}
			if diff := cmp.Diff(unhex(t, test.blank), BlankMPTCPKeys(in)); diff != "" {
				t.Errorf("blanked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for c, want := range map[ErrorCode]string{
		UnsupportedVersion: "unsupported version", DestinationUnreachable: "destination unreachable",
		200: "convert error 200",
	} {
		if c.String() != want {
			t.Errorf("%d: %q", c, c)
		}
	}
	if s := TypeConnect.String() + ", " + Type(99).String(); s != "Connect, TLV 99" {
		t.Error(s)
	}
}
