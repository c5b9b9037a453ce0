// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	loopback  = netip.MustParseAddr("127.0.0.1")
	loopback2 = netip.MustParseAddr("127.0.0.2")
	loopback6 = netip.MustParseAddr("::1")
)

// udpSocket is a socket of a test on an address.
func udpSocket(t *testing.T, ip netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		t.Skipf("no socket on %s: %v", ip, err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func localOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func sendTo(t *testing.T, c *net.UDPConn, to netip.AddrPort, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func datagram(to netip.AddrPort, payload string) []byte {
	return append(appendDatagramHeader(nil, to), payload...)
}

func nameDatagram(host string, port uint16, payload string) []byte {
	return append(appendName([]byte{0, 0, 0}, host, port), payload...)
}

func associate(t *testing.T, c AssociateConfig) *Association {
	t.Helper()
	if !c.Listen.IsValid() {
		c.Listen = loopback
	}
	if !c.Peer.IsValid() {
		c.Peer = c.Listen
	}
	a, err := StartAssociation(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// awaitDrops waits until the drops are exactly these.
func awaitDrops(t *testing.T, a *Association, want map[Drop]uint64) {
	t.Helper()
	var all [dropReasons]uint64
	for d, n := range want {
		all[d] = n
	}
	await(t, fmt.Sprintf("drops %v", want), func() bool { return a.Counters().Drops == all })
}

func TestAssociationForwardsBothWays(t *testing.T) {
	for _, ip := range []netip.Addr{loopback, loopback6} {
		t.Run(ip.String(), func(t *testing.T) {
			client, server := udpSocket(t, ip), udpSocket(t, ip)
			a := associate(t, AssociateConfig{Listen: ip})
			if a.Addr().Addr() != ip || a.Addr().Port() == 0 {
				t.Fatalf("address %s", a.Addr())
			}
			sendTo(t, client, a.Addr(), datagram(localOf(server), "ping"))
			got, relay := receive(t, server)
			if got != "ping" {
				t.Errorf("server got %q", got)
			}
			sendTo(t, server, relay, []byte("pong!"))
			got, from := receive(t, client)
			if want := string(datagram(localOf(server), "pong!")); got != want || from != a.Addr() {
				t.Errorf("client got %x from %s, want %x", got, from, want)
			}
			want := UDPCounters{Up: Traffic{1, 4}, Down: Traffic{1, 5}}
			await(t, "counters", func() bool { return a.Counters() == want })
		})
	}
}

// meter lets some bytes pass in each direction.
type meter struct{ left, moved [2]atomic.Int64 }

func (m *meter) Allow(direction int, _ time.Time) (int, time.Duration) {
	return int(max(m.left[direction].Load(), 0)), time.Second
}

func (m *meter) Moved(direction int, bytes uint64, _ time.Time) {
	m.left[direction].Add(-int64(bytes))
	m.moved[direction].Add(int64(bytes))
}

func TestAssociationIsMetered(t *testing.T) {
	client, server := udpSocket(t, loopback), udpSocket(t, loopback)
	m := new(meter)
	m.left[Up].Store(8)
	m.left[Down].Store(6)
	a := associate(t, AssociateConfig{Meter: m})
	for range 3 {
		sendTo(t, client, a.Addr(), datagram(localOf(server), "ping"))
	}
	var relay netip.AddrPort
	for range 2 {
		_, relay = receive(t, server)
	}
	awaitDrops(t, a, map[Drop]uint64{DropRate: 1})
	for range 2 {
		sendTo(t, server, relay, []byte("answer"))
	}
	receive(t, client)
	awaitDrops(t, a, map[Drop]uint64{DropRate: 2})
	if up, down := m.moved[Up].Load(), m.moved[Down].Load(); up != 8 || down != 6 {
		t.Errorf("%d bytes up and %d down were counted", up, down)
	}
}

func TestAssociationServesBothFamiliesAndAnySize(t *testing.T) {
	client := udpSocket(t, loopback)
	a := associate(t, AssociateConfig{})
	for _, ip := range []netip.Addr{loopback, loopback6} {
		server := udpSocket(t, ip)
		for _, size := range []int{0, 1, 1500, 65507 - maxDatagramHeader} {
			payload := strings.Repeat("x", size)
			sendTo(t, client, a.Addr(), datagram(localOf(server), payload))
			got, relay := receive(t, server)
			if got != payload {
				t.Fatalf("%s: server got %d bytes, want %d", ip, len(got), size)
			}
			sendTo(t, server, relay, []byte(payload))
			if got, _ := receive(t, client); got != string(datagram(localOf(server), payload)) {
				t.Fatalf("%s: client got %d bytes for %d", ip, len(got), size)
			}
		}
	}
}

func TestAssociationHearsItsClientOnly(t *testing.T) {
	server := udpSocket(t, loopback)
	first, second, stranger := udpSocket(t, loopback), udpSocket(t, loopback), udpSocket(t, loopback2)
	tests := []struct {
		name   string
		told   netip.AddrPort
		sender *net.UDPConn
	}{
		{"nothing told: whoever is first", netip.MustParseAddrPort("0.0.0.0:0"), first},
		{"behind a NAT: whoever is first", netip.MustParseAddrPort("192.168.1.2:4000"), first},
		{"port told", localOf(second), second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := associate(t, AssociateConfig{Client: tt.told})
			other := second
			if tt.sender == second {
				other = first
				sendTo(t, other, a.Addr(), datagram(localOf(server), "too early"))
				awaitDrops(t, a, map[Drop]uint64{DropForeign: 1})
			} else {
				sendTo(t, stranger, a.Addr(), datagram(localOf(server), "stranger"))
				awaitDrops(t, a, map[Drop]uint64{DropForeign: 1})
			}
			sendTo(t, tt.sender, a.Addr(), datagram(localOf(server), "hello"))
			if got, _ := receive(t, server); got != "hello" {
				t.Errorf("server got %q", got)
			}
			sendTo(t, other, a.Addr(), datagram(localOf(server), "intruder"))
			awaitDrops(t, a, map[Drop]uint64{DropForeign: 2})
		})
	}
}

func TestMalformedDatagramDoesNotLock(t *testing.T) {
	server, noise, client := udpSocket(t, loopback), udpSocket(t, loopback), udpSocket(t, loopback)
	a := associate(t, AssociateConfig{})
	sendTo(t, noise, a.Addr(), []byte("?"))
	awaitDrops(t, a, map[Drop]uint64{DropMalformed: 1})
	sendTo(t, client, a.Addr(), datagram(localOf(server), "hello"))
	if got, _ := receive(t, server); got != "hello" {
		t.Errorf("server got %q", got)
	}
}

func TestAssociationDrops(t *testing.T) {
	port := netip.AddrPortFrom(loopback, 9)
	fragment := datagram(port, "x")
	fragment[2] = 1
	denied := errors.New("denied")
	c := AssociateConfig{
		Allow: func(to netip.AddrPort) error {
			if to.Addr() == loopback2 {
				return denied
			}
			return nil
		},
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		},
	}
	tests := []struct {
		name string
		b    []byte
		want Drop
	}{
		{"empty", nil, DropMalformed},
		{"header cut off", datagram(port, "")[:9], DropMalformed},
		{"unknown address type", []byte{0, 0, 0, 2, 1, 2, 3, 4, 5, 6}, DropMalformed},
		{"empty name", nameDatagram("", 9, "x"), DropMalformed},
		{"control characters", nameDatagram("a\x00b", 9, "x"), DropMalformed},
		{"zone", nameDatagram("fe80::1%lo", 9, "x"), DropMalformed},
		{"fragment", fragment, DropFragment},
		{"denied", datagram(netip.AddrPortFrom(loopback2, 9), "x"), DropDenied},
		{"denied as a name", nameDatagram("127.0.0.2", 9, "x"), DropDenied},
		{"port 0", datagram(netip.AddrPortFrom(loopback, 0), "x"), DropDenied},
		{"unspecified", datagram(netip.MustParseAddrPort("0.0.0.0:9"), "x"), DropDenied},
		{"multicast", datagram(netip.MustParseAddrPort("224.0.0.1:9"), "x"), DropDenied},
		{"broadcast", datagram(netip.MustParseAddrPort("255.255.255.255:9"), "x"), DropDenied},
		{"broadcast of a network", datagram(netip.MustParseAddrPort("127.255.255.255:9"), "x"), DropUnsendable},
		{"name without address", nameDatagram("nobody.example", 9, "x"), DropUnresolved},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := udpSocket(t, loopback)
			a := associate(t, c)
			sendTo(t, client, a.Addr(), tt.b)
			awaitDrops(t, a, map[Drop]uint64{tt.want: 1})
		})
	}
}

func TestOnlyContactedHostsMayAnswer(t *testing.T) {
	client, server, stranger := udpSocket(t, loopback), udpSocket(t, loopback), udpSocket(t, loopback2)
	a := associate(t, AssociateConfig{})
	sendTo(t, client, a.Addr(), datagram(localOf(server), "ping"))
	_, relay := receive(t, server)
	// The relay's socket has no address of its own: the kernel chose one.
	sendTo(t, stranger, netip.AddrPortFrom(loopback2, relay.Port()), []byte("reflected"))
	awaitDrops(t, a, map[Drop]uint64{DropUnsolicited: 1})
	sendTo(t, client, a.Addr(), datagram(localOf(stranger), "hello"))
	receive(t, stranger)
	sendTo(t, stranger, netip.AddrPortFrom(loopback2, relay.Port()), []byte("now"))
	if got, _ := receive(t, client); got != string(datagram(localOf(stranger), "now")) {
		t.Errorf("client got %x", got)
	}
}

func TestAssociationResolvesNames(t *testing.T) {
	client, server := udpSocket(t, loopback), udpSocket(t, loopback)
	asked, gate := make(chan string, 10), make(chan struct{})
	a := associate(t, AssociateConfig{
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			asked <- host
			select {
			case <-gate:
			case <-ctx.Done():
			}
			// The first one is denied, the second one stays in use.
			return []netip.Addr{loopback2, loopback}, nil
		},
		Allow: func(to netip.AddrPort) error {
			if to.Addr() == loopback2 {
				return ErrNotAllowed
			}
			return nil
		},
	})
	port := localOf(server).Port()
	for i := range maxHeld + 2 {
		sendTo(t, client, a.Addr(), nameDatagram("server.example", port, fmt.Sprint(i)))
	}
	awaitDrops(t, a, map[Drop]uint64{DropOverload: 2})
	// Others are served meanwhile.
	sendTo(t, client, a.Addr(), datagram(localOf(server), "direct"))
	if got, _ := receive(t, server); got != "direct" {
		t.Errorf("server got %q", got)
	}
	close(gate)
	for i := range maxHeld {
		if got, _ := receive(t, server); got != fmt.Sprint(i) {
			t.Errorf("server got %q, want %d", got, i)
		}
	}
	sendTo(t, client, a.Addr(), nameDatagram("server.example", port, "again"))
	if got, _ := receive(t, server); got != "again" {
		t.Errorf("server got %q", got)
	}
	if len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
	a.names.mu.Lock()
	defer a.names.mu.Unlock()
	if diff := cmp.Diff([]netip.Addr{loopback}, a.names.known["server.example"].addrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("addresses in use: (-want +got)\n%s", diff)
	}
}

func TestTooManyNamesAtOnce(t *testing.T) {
	client := udpSocket(t, loopback)
	a := associate(t, AssociateConfig{Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	for i := range maxPending + 3 {
		sendTo(t, client, a.Addr(), nameDatagram(fmt.Sprintf("host%d.example", i), 9, "x"))
	}
	awaitDrops(t, a, map[Drop]uint64{DropOverload: 3})
}

func TestAssociationEnds(t *testing.T) {
	cause := errors.New("client has gone")
	tests := []struct {
		name string
		idle time.Duration
		end  func(*Association, context.CancelCauseFunc)
		want error
	}{
		{"closed", 0, func(a *Association, _ context.CancelCauseFunc) { a.Close() }, net.ErrClosed},
		{"context", 0, func(_ *Association, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
		{"idle", 20 * time.Millisecond, func(*Association, context.CancelCauseFunc) {}, ErrIdle},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := udpSocket(t, loopback), udpSocket(t, loopback)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			a, err := StartAssociation(ctx, AssociateConfig{Listen: loopback, Peer: loopback, Idle: tt.idle})
			if err != nil {
				t.Fatal(err)
			}
			sendTo(t, client, a.Addr(), datagram(localOf(server), "x"))
			receive(t, server)
			addr := a.Addr()
			tt.end(a, cancel)
			select {
			case <-a.Done():
			case <-time.After(30 * time.Second):
				t.Fatal("it did not end")
			}
			if !errors.Is(a.Err(), tt.want) {
				t.Errorf("ended with %v", a.Err())
			}
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
			if err != nil {
				t.Fatalf("its port is still taken: %v", err)
			}
			c.Close()
		})
	}
}

func TestTrafficKeepsAnAssociation(t *testing.T) {
	const idle = 100 * time.Millisecond
	client, server := udpSocket(t, loopback), udpSocket(t, loopback)
	a := associate(t, AssociateConfig{Idle: idle})
	tick := time.NewTicker(idle / 10)
	defer tick.Stop()
	for end := time.Now().Add(3 * idle); time.Now().Before(end); <-tick.C {
		sendTo(t, client, a.Addr(), datagram(localOf(server), "x"))
		receive(t, server)
	}
	if a.Err() != nil {
		t.Fatalf("ended while in use: %v", a.Err())
	}
	<-a.Done()
	if !errors.Is(a.Err(), ErrIdle) {
		t.Errorf("ended with %v", a.Err())
	}
}
