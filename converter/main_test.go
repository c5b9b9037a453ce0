// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	server4 = netip.MustParseAddrPort("192.0.2.1:443")
	server6 = netip.MustParseAddrPort("[2001:db8::1]:80")
	client4 = netip.MustParseAddr("198.51.100.7")
	client6 = netip.MustParseAddr("2001:db8:1::7")

	// noon is when tests begin that do not care about time.
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

	compareAddr = cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{}, options.Set{})
)

// Messages, without their headers' spaces in tests that build on them.
const (
	connect4 = "0a 05 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01"
	info     = "01 01 00 00"
)

// vectors are the messages of a client as they stand in the RFC's figures.
var vectors = map[string]string{
	"connect IPv4":              "01 06 22 63  0a 05 01 bb  00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01",
	"connect IPv6":              "01 06 22 63  0a 05 00 50  20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01",
	"connect with window scale": "01 07 22 63  0a 06 00 50  00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01  03 03 07 00",
	"info":                      "01 02 22 63  01 01 00 00",
	"connect with cookie":       "01 09 22 63  0a 05 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01  16 03 00 00 63 6f 6f 6b 69 65 00 00",
}

// answers are the messages of a converter.
var answers = map[string]string{
	"supported":              "01 03 22 63  15 02 00 00  03 04 08 1e",
	"connection reset":       "01 02 22 63  1e 01 60 00",
	"missing cookie":         "01 04 22 63  1e 03 03 00 01 02 03 04 05 06 07 08",
	"success":                "01 01 22 63",
	"success with options":   "01 04 22 63  14 03 00 00 02 04 05 b4 01 03 03 0a",
	"server speaks MPTCP":    "01 06 22 63  14 05 00 00 02 04 05 b4 1e 0c 01 00 00 00 00 00 00 00 00 00",
	"resource exceeded":      "01 02 22 63  1e 01 40 00",
	"unsupported version":    "01 02 22 63  1e 01 00 02",
	"unsupported TCP option": "01 02 22 63  1e 01 21 1e",
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// message puts TLVs behind a header of the right length.
func message(t testing.TB, tlvs string) []byte {
	t.Helper()
	b := append([]byte{1, 0, 0x22, 0x63}, unhex(t, tlvs)...)
	b[1] = byte(len(b) / 4)
	return b
}

// parse reads a whole message that must be right.
func parse(t testing.TB, b []byte) wire.Message {
	t.Helper()
	m, n, err := wire.Parse(b)
	if err != nil || n != len(b) {
		t.Fatalf("% x: read %d of %d bytes: %v", b, n, len(b), err)
	}
	return m
}

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, compareAddr, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func mustJar(t testing.TB, secret string, rotation time.Duration) *CookieJar {
	t.Helper()
	j, err := NewCookieJar([]byte(secret), rotation)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
