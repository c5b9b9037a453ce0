// SPDX-License-Identifier: Apache-2.0

package tproxy

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
)

// datagram sends a datagram and returns the answer, or the error.
func datagram(t *testing.T, host *lab.Host, to netip.AddrPort) (string, error) {
	t.Helper()
	var c net.Conn
	err := host.Do(func() (err error) {
		c, err = net.Dial("udp", to.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("quic?")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// echoDatagrams answers datagrams to a port of the server.
func (h home) echoDatagrams(t *testing.T, port uint16) {
	t.Helper()
	var c net.PacketConn
	err := h.Server.Do(func() (err error) {
		c, err = net.ListenPacket("udp", netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
}

func TestQUICIsRejected(t *testing.T) {
	h := newHome(t)
	h.echoDatagrams(t, 443)
	h.echoDatagrams(t, 444)
	both := Config{OwnMark: ownMark}
	both.Forwarded = forwarded(loopback4, loopback6).Forwarded
	both.Own = own(loopback4, loopback6).Own
	i := install(t, h.CPE, both)
	check := func(host *lab.Host, port uint16, rejected bool) {
		t.Helper()
		for _, to := range h.targets(port) {
			got, err := datagram(t, host, to)
			// The kernel tells senders of its own at once that they may not.
			refused := errors.Is(err, unix.ECONNREFUSED) || host == h.CPE && errors.Is(err, unix.EPERM)
			if refused != rejected || !rejected && got != "quic?" {
				t.Errorf("%s to %v: %q, %v", host.Name(), to, got, err)
			}
			e := both.Explain(Flow{
				UDP: true, Own: host == h.CPE, Interface: "lan",
				Source: netip.MustParseAddr(h.clientAddr(to)), Destination: to,
			})
			if (e.Outcome == Rejected) != rejected {
				t.Errorf("%s to %v explained: %+v", host.Name(), to, e)
			}
		}
	}
	for _, host := range []*lab.Host{h.Client, h.CPE} {
		check(host, 443, false)
	}
	both.Forwarded.RejectQUIC, both.Own.RejectQUIC = true, true
	if err := i.Update(both); err != nil {
		t.Fatal(err)
	}
	for _, host := range []*lab.Host{h.Client, h.CPE} {
		check(host, 443, true)
		check(host, 444, false)
	}
	both.Forwarded.Exclude.Destinations = []netip.Prefix{single(h.ServerAddr.V4), single(h.ServerAddr.V6)}
	if err := i.Update(both); err != nil {
		t.Fatal(err)
	}
	check(h.Client, 443, false)
	check(h.CPE, 443, true)
}
