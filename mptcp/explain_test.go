// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"testing"

	"github.com/mdlayher/netlink"
)

// encode is how the kernel puts a diagnosis into attributes.
func (d diagnosis) encode(t testing.TB) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(15, 1) // another attribute
	ae.Nested(attrULPInfo, func(ulp *netlink.AttributeEncoder) error {
		ulp.String(1, "mptcp")
		ulp.Nested(attrULPInfoMPTCP, func(m *netlink.AttributeEncoder) error {
			m.Uint32(1, 0)
			m.Uint32(attrTokenLocal, d.token)
			m.Uint64(attrMapSeq, d.mapSeq)
			m.Uint32(attrFlags, d.flags)
			m.Uint8(9, 0)
			return nil
		})
		return nil
	})
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseDiagnosis(t *testing.T) {
	want := diagnosis{flags: 0x82, token: 0xc63a556b, mapSeq: 1 << 60}
	if got, err := parseDiagnosis(want.encode(t)); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := parseDiagnosis(nil); err != errNoDetail {
		t.Errorf("nothing: %v", err)
	}
}

// Addresses of both families, and a socket bound to a device, are found.
func TestExplainFindsTheSocket(t *testing.T) {
	needMPTCP(t)
	inNamespace(t)
	for _, addr := range []string{"v4", "v6", "device"} {
		to, o := loopback4, ConnectOptions{Mode: ModePrefer}
		switch addr {
		case "v6":
			to = loopback6
		case "device":
			o.Socket.Device = "lo"
		}
		_, to = mustListen(t, to, ListenOptions{Mode: ModeOff})
		c, _ := mustConnect(t, to, nil, o)
		if got, err := Explain(c); err != nil || got != PeerTCP {
			t.Errorf("%s: %s, %v", addr, got, err)
		}
	}
	c, s := pair(t, loopback4, ModeOff, ModeOff)
	for _, fd := range []int{c, s} {
		if got, err := Explain(fd); err != nil || got != PeerTCP {
			t.Errorf("plain TCP: %s, %v", got, err)
		}
	}
	if _, err := Explain(-1); err == nil {
		t.Error("no descriptor explained")
	}
}

func FuzzParseDiagnosis(f *testing.F) {
	f.Add(diagnosis{}.encode(f))
	f.Add(diagnosis{flags: 0x82, token: 1, mapSeq: 2}.encode(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDiagnosis(b)
		if err != nil {
			return
		}
		if again, err := parseDiagnosis(d.encode(t)); err != nil || again != d {
			t.Errorf("%+v became %+v, %v", d, again, err)
		}
	})
}
