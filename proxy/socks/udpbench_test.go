// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// BenchmarkAssociation is a datagram to a server and its answer.
func BenchmarkAssociation(b *testing.B) {
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	client, server := listen(), listen()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer server.Close()
	defer client.Close()
	a, err := StartAssociation(b.Context(), AssociateConfig{Listen: loopback, Peer: loopback})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := server.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	})
	d := datagram(localOf(server), strings.Repeat("x", 1200))
	buf := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.WriteToUDPAddrPort(d, a.Addr()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := client.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
	}
}
