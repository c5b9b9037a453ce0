// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-gateway/tandem/trace/wire"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	key1 = "0102030405060708"
	key2 = "1112131415161718"
	v4   = "c0000201"
	v6   = "20010db8000000000000000000000001"
	hmac = "a0a1a2a3a4a5a6a7"
)

// read reads an option with whatever reads its subtype.
func read(data []byte) (any, bool) {
	subtype, ok := wire.SubtypeOf(data)
	if !ok {
		return nil, false
	}
	switch subtype {
	case wire.MPCapable:
		return as(wire.ParseCapable(data))
	case wire.MPJoin:
		return as(wire.ParseJoin(data))
	case wire.DSS:
		return as(wire.ParseSignal(data))
	case wire.AddAddr:
		return as(wire.ParseAddress(data))
	case wire.RemoveAddr:
		return as(wire.ParseRemoved(data))
	case wire.MPPrio:
		return as(wire.ParsePriority(data))
	case wire.MPFail:
		return as(wire.ParseFail(data))
	case wire.MPFastClose:
		return as(wire.ParseFastClose(data))
	case wire.MPTCPRst:
		return as(wire.ParseReset(data))
	}
	return nil, false
}

func as[T any](v T, ok bool) (any, bool) { return v, ok }

// options are the data of well-formed ones, as RFC 8684 and RFC 6824 draw them.
var options = []struct {
	name, data string
	want       any
}{
	{"SYN", "0181", wire.Capable{Version: 1, Checksum: true}},
	{"SYN, no joins", "0121", wire.Capable{Version: 1, NoJoin: true}},
	{"SYN of version 0", "0081" + key1, wire.Capable{Checksum: true, Keys: 1, SenderKey: 0x0102030405060708}},
	{"SYN-ACK", "0101" + key2, wire.Capable{Version: 1, Keys: 1, SenderKey: 0x1112131415161718}},
	{"ACK", "0101" + key1 + key2, wire.Capable{Version: 1, Keys: 2, SenderKey: 0x0102030405060708, ReceiverKey: 0x1112131415161718}},
	{"ACK with data", "0101" + key1 + key2 + "0100", wire.Capable{Version: 1, Keys: 2, SenderKey: 0x0102030405060708, ReceiverKey: 0x1112131415161718, Mapped: true, DataLen: 256}},
	{"ACK with data and checksum", "0181" + key1 + key2 + "0100abcd", wire.Capable{Version: 1, Checksum: true, Keys: 2, SenderKey: 0x0102030405060708, ReceiverKey: 0x1112131415161718, Mapped: true, DataLen: 256}},
	{"join", "1102 01020304 0a0b0c0d", wire.Join{Step: wire.JoinSYN, Backup: true, AddressID: 2, Token: 0x01020304, Nonce: 0x0a0b0c0d}},
	{"join answered", "1003" + hmac + "0a0b0c0d", wire.Join{Step: wire.JoinSYNACK, AddressID: 3, HMAC: []byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7}, Nonce: 0x0a0b0c0d}},
	{"join confirmed", "1000" + hmac + hmac + "a8a9aaab", wire.Join{Step: wire.JoinACK, HMAC: slices.Concat([]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7}, []byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7}, []byte{0xa8, 0xa9, 0xaa, 0xab})}},
	{"nothing but DSS", "2000", wire.Signal{}},
	{"DATA_ACK", "2001 00000005", wire.Signal{Acked: true, Ack: 5}},
	{"DATA_ACK of 64 bits", "2003 0000000100000005", wire.Signal{Acked: true, Ack: 1<<32 + 5, Ack64: true}},
	{"mapping", "2004 00000007 00000001 0010", wire.Signal{Mapped: true, DSN: 7, Subflow: 1, Length: 16}},
	{"mapping of 64 bits with checksum", "200c 0000000200000007 00000001 0010 abcd", wire.Signal{Mapped: true, DSN: 2<<32 + 7, DSN64: true, Subflow: 1, Length: 16, Checksum: true}},
	{"all, with DATA_FIN", "201f 0000000100000005 0000000200000007 00000001 0011", wire.Signal{Acked: true, Ack: 1<<32 + 5, Ack64: true, Mapped: true, DSN: 2<<32 + 7, DSN64: true, Subflow: 1, Length: 17, Fin: true}},
	{"address", "3001" + v4 + hmac, wire.Address{ID: 1, Addr: netip.MustParseAddr("192.0.2.1")}},
	{"address and port", "3001" + v4 + "01bb" + hmac, wire.Address{ID: 1, Addr: netip.MustParseAddr("192.0.2.1"), Port: 443}},
	{"echo", "3101" + v4, wire.Address{ID: 1, Echo: true, Addr: netip.MustParseAddr("192.0.2.1")}},
	{"IPv6", "3001" + v6 + hmac, wire.Address{ID: 1, Addr: netip.MustParseAddr("2001:db8::1")}},
	{"IPv6, echo with port", "3101" + v6 + "01bb", wire.Address{ID: 1, Echo: true, Addr: netip.MustParseAddr("2001:db8::1"), Port: 443}},
	{"address of version 0", "3402" + v4, wire.Address{ID: 2, Addr: netip.MustParseAddr("192.0.2.1")}},
	{"IPv6 and port of version 0", "3602" + v6 + "0050", wire.Address{ID: 2, Addr: netip.MustParseAddr("2001:db8::1"), Port: 80}},
	{"removal", "400102", []byte{1, 2}},
	{"priority", "51", wire.Priority{Backup: true}},
	{"priority of version 0", "5003", wire.Priority{AddressID: 3, OfAddress: true}},
	{"failure", "6000" + key1, uint64(0x0102030405060708)},
	{"fast close", "7000" + key1, uint64(0x0102030405060708)},
	{"reset", "8106", wire.Reset{Transient: true, Reason: 6}},
}

func TestOptions(t *testing.T) {
	for _, tt := range options {
		data := unhex(t, tt.data)
		got, ok := read(data)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || !ok {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, ok, diff)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{
		"", "9000", "f00000", "01", "0101" + key1 + "00", "10", "1102 01020304", "20", "2003 00000001", "2004 00000007 00000001", "2001 0000000500",
		"2004 00000007 00000001 0010 ab", "30", "3001" + v4, "3001" + hmac, "3101" + v4 + "00", "34021122", "40", "500102", "6000" + key1 + "00", "7000", "81", "810600",
	} {
		if got, ok := read(unhex(t, text)); ok {
			t.Errorf("%q is read as %+v", text, got)
		} else if s, is := got.(wire.Signal); is && s != (wire.Signal{}) {
			t.Errorf("%q is not well-formed, but read as %+v", text, got)
		}
	}
	// Each function wants its own subtype.
	data := unhex(t, "f1"+"00"+key1)
	_, capable := wire.ParseCapable(data)
	_, join := wire.ParseJoin(data)
	_, signal := wire.ParseSignal(data)
	_, address := wire.ParseAddress(data)
	_, removed := wire.ParseRemoved(data)
	_, priority := wire.ParsePriority(data[:1])
	_, fail := wire.ParseFail(data)
	_, fastClose := wire.ParseFastClose(data)
	_, reset := wire.ParseReset(data[:2])
	if capable || join || signal || address || removed || priority || fail || fastClose || reset {
		t.Error("an option of another subtype is read")
	}
	for reason, want := range map[wire.ResetReason]string{0: "unspecified error", 6: "middlebox interference", 9: "reason 9"} {
		if got := reason.String(); got != want {
			t.Errorf("reason %d is %q", reason, got)
		}
	}
}

// TestDerive compares with sha256sum, sha1sum and Python's hmac.
func TestDerive(t *testing.T) {
	if token, idsn := wire.Derive(1, 0); token != 0xaf5570f5 || idsn != 0xe5b2328de0e83dfc {
		t.Errorf("version 1: token %08x, number %016x", token, idsn)
	}
	if token, idsn := wire.Derive(0, 0); token != 0x05fe4057 || idsn != 0xac558654f107c7e9 {
		t.Errorf("version 0: token %08x, number %016x", token, idsn)
	}
	for version, want := range []string{"4e4f8940cba260ea04f1cc5b533b0815bc4b2b45", "cdedaf8b5b0471f5b9f5760fb09764cf1ae989ce8590360190a1da89fed3633f"} {
		got := wire.JoinCode(uint8(version), 0x0102030405060708, 0x1112131415161718, 0x0a0b0c0d, 0x01020304)
		if hex.EncodeToString(got) != want {
			t.Errorf("version %d: code %x", version, got)
		}
	}
}

func FuzzOptions(f *testing.F) {
	for _, o := range options {
		f.Add(unhex(f, o.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, ok := read(slices.Clone(data))
		second, again := read(data)
		if ok != again || !cmp.Equal(first, second, cmpopts.EquateComparable(netip.Addr{})) {
			t.Fatalf("read twice: %+v, %+v", first, second)
		}
		if !ok {
			return
		}
		switch o := first.(type) {
		case wire.Capable:
			if o.Keys > 2 || o.Mapped && o.Keys != 2 {
				t.Fatalf("%+v", o)
			}
		case wire.Join:
			if want := map[wire.JoinStep]int{wire.JoinSYNACK: 8, wire.JoinACK: 20}[o.Step]; len(o.HMAC) != want {
				t.Fatalf("%+v", o)
			}
		case wire.Address:
			if !o.Addr.IsValid() {
				t.Fatalf("%+v", o)
			}
		}
	})
}
