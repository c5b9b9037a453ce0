// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
	"github.com/tandem-gateway/tandem/subscribers"
)

func TestSOCKSAssociate(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p := serve(t, Options{}, socksListener(socks.Config{UDP: true}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0"))))
	expect(t, c, welcome)
	code, relay := readReply(t, c)
	if code != socks.Succeeded {
		t.Fatal(code)
	}
	client, err := net.Dial("udp", relay.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	to := server.LocalAddr().(*net.UDPAddr).AddrPort()
	header := "\x00\x00\x00" + request(socks.Connect, to)[3:]
	send(t, client, []byte(header+"ping"))
	b := make([]byte, 100)
	_ = server.SetDeadline(time.Now().Add(patience))
	n, from, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "ping" {
		t.Fatalf("server got %q, %v", b[:n], err)
	}
	if _, err := server.WriteTo([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(patience))
	if n, err = client.Read(b); err != nil || string(b[:n]) != header+"answer" {
		t.Fatalf("client got %q, %v", b[:n], err)
	}
	// The association ends with its connection.
	c.Close()
	p.quiescent()
	if r := p.records.wait(t, 1)[0]; r.Up != 4 || r.Down != 6 || r.Err != nil || r.Connected == 0 {
		t.Errorf("record %+v", r)
	}
	await(t, "the datagram socket to close", func() bool {
		_, _ = client.Write([]byte(header))
		return errors.Is(lastError(client), unix.ECONNREFUSED)
	})
}

// TestAssociationOfASubscriber counts datagrams as they are forwarded, and holds
// them to the rate.
func TestAssociationOfASubscriber(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := socksListener(socks.Config{UDP: true})
	l.Subscribers = registry(t, subscribers.Policy{Quota: subscribers.Quota{Bytes: 1000, Reduced: 1}}, subscribers.Options{})
	p := serve(t, Options{}, l)
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0"))))
	expect(t, c, welcome)
	_, relay := readReply(t, c)
	client, err := net.Dial("udp", relay.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	datagram := []byte("\x00\x00\x00" + request(socks.Connect, server.LocalAddr().(*net.UDPAddr).AddrPort())[3:] + strings.Repeat("x", 600))
	state := func() subscribers.State { return l.Subscribers.Accounts()[0] }
	for _, used := range []uint64{600, 1200} {
		send(t, client, datagram)
		await(t, "the datagram to count", func() bool { return state().Used == used })
	}
	if s := state(); !s.Over || s.RateUp != 1 {
		t.Errorf("after the quota: %+v", s)
	}
	// The first of these, after which there is a debt of ten minutes.
	send(t, client, datagram)
	await(t, "the datagram to count", func() bool { return state().Used == 1800 })
	for range 10 {
		send(t, client, datagram)
	}
	c.Close()
	p.quiescent()
	if s := state(); s.Used != 1800 || s.Up != 1800 {
		t.Errorf("beyond the rate: %+v", s)
	}
	if r := p.records.wait(t, 1)[0]; r.Up != 1800 {
		t.Errorf("record of %d bytes up", r.Up)
	}
	if s := p.Stats(); s.Up != 1800 {
		t.Errorf("%d bytes were counted", s.Up)
	}
}

// lastError is what a connected datagram socket has to say.
func lastError(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestSOCKSAssociateEndsWithTheServer(t *testing.T) {
	p := serve(t, Options{}, socksListener(socks.Config{UDP: true}))
	c := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, c, []byte(hello+request(socks.Associate, netip.MustParseAddrPort("0.0.0.0:0"))))
	expect(t, c, welcome)
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatal(code)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if left := p.Shutdown(ctx); left != 1 {
		t.Errorf("%d connections had to be ended, want 1", left)
	}
	expectEnd(t, c)
}
