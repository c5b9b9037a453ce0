// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var byValue = cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})

// attrs encodes attributes as the kernel does.
func attrs(t testing.TB, fill func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	fill(ae)
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putPath(ae *netlink.AttributeEncoder, saddr, daddr netip.AddrPort) {
	put := func(attr4, attr6, port uint16, a netip.AddrPort) {
		if a.Addr().Is4() {
			attr6 = attr4
		}
		ae.Bytes(attr6, a.Addr().AsSlice())
		ae.Bytes(port, binary.BigEndian.AppendUint16(nil, a.Port()))
	}
	put(eventSAddr4, eventSAddr6, eventSPort, saddr)
	put(eventDAddr4, eventDAddr6, eventDPort, daddr)
}

func TestParseEvent(t *testing.T) {
	a4, b4 := netip.MustParseAddrPort("192.0.2.1:258"), netip.MustParseAddrPort("192.0.2.2:80")
	mapped := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	a6, b6 := netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:65535")
	for _, tt := range []struct {
		name string
		kind uint8
		fill func(*netlink.AttributeEncoder)
		want Event
	}{
		{"created", eventCreated, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(eventToken, 7)
			ae.Uint16(eventFlags, eventFlagDenyJoinID0)
			putPath(ae, a4, b4)
		}, Created{Connection{Token: 7, Local: a4, Remote: b4, DenyJoinID0: true}}},
		{"established at server", eventEstablished, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(eventToken, 0xfffffffe)
			ae.Uint8(eventServerSide, 1)
			putPath(ae, a6, b6)
		}, Established{Connection{Token: 0xfffffffe, Local: a6, Remote: b6, ServerSide: true}}},
		{"server told by flag", eventEstablished, func(ae *netlink.AttributeEncoder) {
			ae.Uint16(eventFlags, eventFlagServerSide)
		}, Established{Connection{ServerSide: true}}},
		{"IPv4-mapped", eventSubEstablished, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(eventToken, 7)
			ae.Uint8(eventLocID, 3)
			ae.Uint8(eventRemID, 255)
			ae.Uint8(eventBackup, 1)
			ae.Int32(eventIfIndex, 12)
			putPath(ae, mapped(a4), mapped(b4))
		}, SubflowEstablished{Path{Token: 7, LocalID: 3, RemoteID: 255, Local: a4, Remote: b4, Backup: true, IfIndex: 12}}},
		{"reset by peer", eventSubClosed, func(ae *netlink.AttributeEncoder) {
			putPath(ae, a4, b4)
			ae.Uint8(eventError, uint8(unix.ECONNRESET))
			ae.Uint32(eventResetReason, 3)
			ae.Uint32(eventResetFlags, 1)
		}, SubflowClosed{Path{Local: a4, Remote: b4}, unix.ECONNRESET, &Reset{ResetProhibited, true}}},
		{"announced", eventAnnounced, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(eventToken, 7)
			ae.Uint8(eventRemID, 9)
			ae.Bytes(eventDAddr6, b6.Addr().AsSlice())
			ae.Bytes(eventDPort, []byte{255, 255})
		}, Announced{7, 9, b6}},
		{"removed", eventRemoved, func(ae *netlink.AttributeEncoder) { ae.Uint8(eventRemID, 9) }, Removed{0, 9}},
		{"closed", eventClosed, func(ae *netlink.AttributeEncoder) { ae.Uint32(eventToken, 7) }, Closed{7}},
		{"listener", eventListenerCreated, func(ae *netlink.AttributeEncoder) {
			ae.Uint16(eventFamily, unix.AF_INET)
			ae.Bytes(eventSAddr4, a4.Addr().AsSlice())
			ae.Bytes(eventSPort, []byte{1, 2})
		}, ListenerCreated{a4}},
		{"unknown kind", 99, func(*netlink.AttributeEncoder) {}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseEvent(tt.kind, attrs(t, tt.fill))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, byValue); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := parseEvent(eventClosed, attrs(t, func(ae *netlink.AttributeEncoder) { ae.Uint8(eventToken, 1) })); err == nil {
		t.Error("short token accepted")
	}
	if _, err := parseEvent(eventAnnounced, attrs(t, func(ae *netlink.AttributeEncoder) { ae.Bytes(eventDAddr4, make([]byte, 5)) })); err == nil {
		t.Error("address of 5 bytes accepted")
	}
}

func FuzzParseEvent(f *testing.F) {
	for _, kind := range []uint8{eventCreated, eventSubClosed, eventAnnounced, eventListenerClosed} {
		f.Add(kind, attrs(f, func(ae *netlink.AttributeEncoder) {
			ae.Uint32(eventToken, 1)
			putPath(ae, netlink4, netlink4)
			ae.Uint8(eventError, 110)
			ae.Uint32(eventResetReason, 6)
		}))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		event, err := parseEvent(kind, b)
		if err != nil && event != nil {
			t.Errorf("%+v with %v", event, err)
		}
		var addr netip.Addr
		switch e := event.(type) {
		case Announced:
			addr = e.Addr.Addr()
		case SubflowClosed:
			addr = e.Local.Addr()
		case Created:
			addr = e.Remote.Addr()
		}
		if addr.Is4In6() {
			t.Errorf("%+v is not unmapped", event)
		}
	})
}

var netlink4 = netip.MustParseAddrPort("192.0.2.1:443")

// What is encoded is decoded the same.
func FuzzParseEndpoint(f *testing.F) {
	f.Add([]byte{})
	for _, e := range []Endpoint{{}, {1, netlink4.Addr(), 80, Signal, 0}, {255, netip.MustParseAddr("2001:db8::1"), 65535, ^Flags(0), 7}} {
		f.Add(attrs(f, func(ae *netlink.AttributeEncoder) {
			if err := e.local(ae); err != nil {
				f.Fatal(err)
			}
		}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEndpoint(b)
		if err != nil {
			return
		}
		again, err := parseEndpoint(attrs(t, func(ae *netlink.AttributeEncoder) {
			if err := e.local(ae); err != nil {
				t.Fatal(err)
			}
		}))
		if err != nil || again != e {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

func FuzzParseLimits(f *testing.F) {
	f.Add(attrs(f, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(attrSubflows, 8)
		ae.Uint32(attrRcvAddAddrs, 3)
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLimits(b); err == nil && len(b) < 8 && l != (Limits{}) {
			t.Errorf("%+v from %x", l, b)
		}
	})
}

func TestFlagsString(t *testing.T) {
	for f, want := range map[Flags]string{0: "", Signal | Backup: "signal,backup", Subflow | Fullmesh | 1<<9: "subflow,fullmesh,0x200"} {
		if got := f.String(); got != want {
			t.Errorf("%d is %q, want %q", f, got, want)
		}
	}
	if got := ResetMiddlebox.String() + " " + ResetReason(9).String(); got != "middlebox interference reason 9" {
		t.Errorf("got %q", got)
	}
}
