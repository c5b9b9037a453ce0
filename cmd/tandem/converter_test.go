// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/converter"
	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/mptcp"
)

// converse asks the aggregator for a connection, over MPTCP, and returns the
// answer; the connection stands until the end of the test.
func converse(t *testing.T, h *lab.Host, d *converter.Dialer, target netip.AddrPort, extras converter.Extras) (converter.Answer, *mptcp.Conn, error) {
	t.Helper()
	x, err := d.Connect(target, extras)
	if err != nil {
		t.Fatal(err)
	}
	for {
		c := dialConverter(t, h)
		if _, err := c.Write(x.AppendRequest(nil, time.Now())); err != nil {
			t.Fatal(err)
		}
		answer, err := readAnswer(t, x, c)
		if !errors.Is(err, converter.ErrRetry) {
			return answer, c, err
		}
	}
}

// dialConverter connects to the aggregator over MPTCP.
func dialConverter(t *testing.T, h *lab.Host) *mptcp.Conn {
	t.Helper()
	var c *mptcp.Conn
	err := h.Do(func() (err error) {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: 5 * time.Second}
		c, err = d.DialContext(t.Context(), "tcp", "192.0.2.1:8803")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// readAnswer expects nothing from the server itself.
func readAnswer(t *testing.T, x *converter.Exchange, c net.Conn) (converter.Answer, error) {
	t.Helper()
	b := make([]byte, 0, 2048)
	for {
		n, err := c.Read(b[len(b):cap(b)])
		if n == 0 && err != nil {
			t.Fatalf("after %x: %v", b, err)
		}
		b = b[:len(b)+n]
		answer, n, err := x.Read(b, time.Now())
		switch {
		case errors.Is(err, wire.ErrShort):
		case err == nil && n != len(b):
			t.Fatalf("%x after the answer %x", b[n:], b[:n])
		default:
			return answer, err
		}
	}
}
