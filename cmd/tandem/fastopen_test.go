// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/trace/packet"
	"github.com/tandem-gateway/tandem/trace/wire"
)

// patientCPE waits for the first bytes of LAN clients for as long as it takes.
var patientCPE = strings.Replace(cpe, "    upstream: hag\n", "    upstream: hag\n    timeouts: {first-data: 5s}\n", 1)

// carriesRequest tells a SYN to the aggregator with a whole Convert request
// for a server (RFC 8803) and the client's first bytes behind it.
func carriesRequest(s packet.Segment, server netip.AddrPort) bool {
	const header, connect = 4, 20 // bytes of the fixed header and of a Connect TLV
	if !s.IsSYN() || len(s.Payload) < header+connect || binary.BigEndian.Uint16(s.Payload[2:]) != 0x2263 {
		return false
	}
	tlv, rest := s.Payload[header:header+connect], s.Payload[4*int(s.Payload[1]):]
	address := server.Addr().As16()
	return tlv[0] == 10 && binary.BigEndian.Uint16(tlv[2:]) == server.Port() && bytes.Equal(tlv[4:], address[:]) &&
		bytes.HasPrefix(rest, []byte("GET /data HTTP/1.1\r\n"))
}

// TestZeroRTT shows that the SYN to the aggregator carries request and first
// bytes, and that the server has both before anything else of the CPE arrives.
func TestZeroRTT(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1_000_000, aggregator, patientCPE)
	fetch(t, h.Client, h.web, h.v4) // for the cookie

	access := labtest.Capture(t, h.CPE, "dsl", "tcp dst port 8803")
	fetch(t, h.Client, h.web, h.v4)
	syn := awaitSegment(t, access, "SYN with the request", func(s packet.Segment) bool { return carriesRequest(s, h.v4) })
	if _, multipath := syn.Options.MPTCP(wire.MPCapable); !multipath {
		t.Errorf("SYN without MP_CAPABLE: %+v", syn.Options)
	}
	if cookie, _ := syn.Options.Find(packet.KindFastOpen); len(cookie) == 0 {
		t.Errorf("SYN without a Fast Open cookie: %+v", syn.Options)
	}
	labtest.Await(t, patience, "both connections to end over MPTCP", func() bool {
		return countLogged(h.aggregator, "client_mptcp=yes", "server=203.0.113.80:80") == 2 &&
			countLogged(h.cpe, "server_mptcp=yes", "upstream=hag/192.0.2.1:8803") == 2
	})

	// Whatever takes a second round trip cannot happen now.
	nft(t, h.Aggregator, "table inet once { chain in { type filter hook prerouting priority raw; tcp dport 8803 tcp flags & syn == 0 drop; }; }")
	core := labtest.Capture(t, h.Aggregator, "core", "tcp dst port 80")
	done := h.download(t)
	awaitSegment(t, core, "the request to the server", func(s packet.Segment) bool {
		return s.Dst == h.v4 && bytes.HasPrefix(s.Payload, []byte("GET /data"))
	})
	// The answer has overtaken the handshake, and comes through after it.
	nft(t, h.Aggregator, "delete table inet once")
	checkFetched(t, h.web, <-done)
}

// TestDataInSYNsDropped works on an access network that drops SYNs with data,
// and does without them after the first.
func TestDataInSYNsDropped(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, lab.HybridHomeSpec{}, 1_000_000, aggregator, patientCPE)
	fetch(t, h.Client, h.web, h.v4) // for the cookie
	// No headers of IPv4 and TCP are longer than 80 bytes.
	nft(t, h.Aggregator, "table ip middlebox { chain in { type filter hook prerouting priority raw; tcp dport 8803 tcp flags & (syn|ack) == syn meta length > 80 drop; }; }")
	access := labtest.Capture(t, h.CPE, "dsl", "tcp dst port 8803")

	fetch(t, h.Client, h.web, h.v4)
	awaitSegment(t, access, "SYN with the request", func(s packet.Segment) bool { return carriesRequest(s, h.v4) })
	awaitLog(t, h.cpe, "upstream=hag/192.0.2.1:8803", "server_mptcp=fast_open")

	for range 2 {
		fetch(t, h.Client, h.web, h.v4)
	}
	labtest.Await(t, patience, "the others to end over MPTCP", func() bool {
		return countLogged(h.cpe, "upstream=hag/192.0.2.1:8803", "server_mptcp=yes") == 3
	})
	segments, err := access.Stop()
	if err != nil {
		t.Fatal(err)
	}
	withData := 0
	for _, s := range segments {
		if s.IsSYN() && len(s.Payload) > 0 {
			withData++
		}
	}
	if withData != 1 {
		t.Errorf("%d SYNs with data, want only the first", withData)
	}
}
