// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// unhex decodes hex with spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	addr4 = netip.MustParseAddr("192.0.2.1")
	addr6 = netip.MustParseAddr("2001:db8::1")

	// compareAddr compares addresses by value, not by their unexported fields.
	compareAddr = cmpopts.EquateComparable(netip.Addr{})
)

// vectors are messages with their one encoding. parsed is what reading gives
// where it differs from what was written, by padding that cannot be told from
// content.
var vectors = []struct {
	name    string
	hex     string
	message Message
	parsed  *Message
}{
	{
		name:    "connect IPv4",
		hex:     "01 06 22 63  0a 05 01 bb  00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01",
		message: Message{Version: 1, Connect: &Connect{Port: 443, Addr: addr4}},
	},
	{
		name:    "connect IPv6",
		hex:     "01 06 22 63  0a 05 00 50  20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01",
		message: Message{Version: 1, Connect: &Connect{Port: 80, Addr: addr6}},
	},
	{
		name: "connect with window scale",
		hex:  "01 07 22 63  0a 06 00 50  00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01  03 03 07 00",
		message: Message{Version: 1, Connect: &Connect{
			Port: 80, Addr: addr4,
			Options: []TCPOption{{Kind: KindWindowScale, Value: []byte{7}}},
		}},
	},
	{
		name: "connect asking for MPTCP",
		hex:  "01 07 22 63  0a 06 00 50  00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01  1e 02 00 00",
		message: Message{Version: 1, Connect: &Connect{
			Port: 80, Addr: addr4,
			Options: []TCPOption{{Kind: KindMPTCP, Value: []byte{}}},
		}},
	},
	{
		name:    "info",
		hex:     "01 02 22 63  01 01 00 00",
		message: Message{Version: 1, Info: true},
	},
	{
		name:    "supported",
		hex:     "01 03 22 63  15 02 00 00  03 04 08 1e",
		message: Message{Version: 1, Supported: []uint8{3, 4, 8, 30}},
	},
	{
		name:    "supported with padding",
		hex:     "01 03 22 63  15 02 00 00  04 1e 00 00",
		message: Message{Version: 1, Supported: []uint8{4, 30}},
	},
	{
		name: "connect with cookie",
		hex: "01 09 22 63  0a 05 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01" +
			"16 03 00 00 63 6f 6f 6b 69 65 00 00",
		message: Message{
			Version: 1,
			Connect: &Connect{Port: 443, Addr: addr4},
			Cookie:  []byte("cookie"),
		},
		parsed: &Message{
			Version: 1,
			Connect: &Connect{Port: 443, Addr: addr4},
			Cookie:  []byte("cookie\x00\x00"),
		},
	},
	{
		name:    "error, connection reset",
		hex:     "01 02 22 63  1e 01 60 00",
		message: Message{Version: 1, Error: &Error{Code: ConnectionReset}},
		parsed:  &Message{Version: 1, Error: &Error{Code: ConnectionReset, Value: []byte{0}}},
	},
	{
		name: "error, missing cookie",
		hex:  "01 04 22 63  1e 03 03 00 01 02 03 04 05 06 07 08",
		message: Message{
			Version: 1,
			Error:   MissingCookieError([]byte{1, 2, 3, 4, 5, 6, 7, 8}),
		},
	},
	{
		name:    "success without TLV",
		hex:     "01 01 22 63",
		message: Message{Version: 1},
	},
	{
		name: "success with the server's options",
		hex:  "01 04 22 63  14 03 00 00 02 04 05 b4 01 03 03 0a",
		message: Message{
			Version:           1,
			ExtendedTCPHeader: []byte{2, 4, 5, 0xb4, 1, 3, 3, 10},
		},
	},
	{
		name: "private use",
		hex:  "01 03 22 63  e0 02 01 02 03 04 00 00",
		message: Message{
			Version: 1,
			Private: []Private{{Type: 224, Body: []byte{1, 2, 3, 4}}},
		},
		parsed: &Message{
			Version: 1,
			Private: []Private{{Type: 224, Body: []byte{1, 2, 3, 4, 0, 0}}},
		},
	},
}

func TestVectorsEncode(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			got, err := v.message.AppendTo([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			want := append([]byte("before"), unhex(t, v.hex)...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("encoding (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVectorsDecode(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			in := unhex(t, v.hex)
			// What follows belongs to the relayed connection.
			got, n, err := Parse(append(in, "GET / HTTP/1.1"...))
			if err != nil {
				t.Fatal(err)
			}
			if n != len(in) {
				t.Errorf("consumed %d bytes of %d", n, len(in))
			}
			want := v.message
			if v.parsed != nil {
				want = *v.parsed
			}
			if diff := cmp.Diff(want, got, compareAddr); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// A message that has not arrived completely is short, however far it is.
func TestVectorsShort(t *testing.T) {
	for _, v := range vectors {
		in := unhex(t, v.hex)
		for i := range in {
			if m, n, err := Parse(in[:i]); err != ErrShort || n != 0 || !cmp.Equal(m, Message{}, compareAddr) {
				t.Errorf("%s: %d of %d bytes: got %+v, %d, %v", v.name, i, len(in), m, n, err)
			}
		}
	}
}
