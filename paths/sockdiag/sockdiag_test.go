// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

func dialOn(t *testing.T, h *lab.Host) *Conn {
	t.Helper()
	var c *Conn
	if err := h.Do(func() (err error) { c, err = Dial(0); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func list(t *testing.T, c *Conn) []Subflow {
	t.Helper()
	all, err := c.All()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSubflows compares both ends of a connection with two subflows.
func TestSubflows(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6", "IPv4 at an IPv6 listener"} {
		t.Run(family, func(t *testing.T) {
			tp := labtest.TwoPath(t, lab.TwoPathSpec{})
			to, listen := tp.AggregatorAddr.V4, tp.AggregatorAddr.V4
			wifi, cell := tp.WiFi.Addr.V4, tp.Cell.Addr.V4
			switch family {
			case "IPv6":
				to, listen, wifi, cell = tp.AggregatorAddr.V6, tp.AggregatorAddr.V6, tp.WiFi.Addr.V6, tp.Cell.Addr.V6
			case "IPv4 at an IPv6 listener":
				listen = netip.IPv6Unspecified()
			}
			client, server := connect(t, tp, listen, to)
			mine, theirs := dialOn(t, tp.Client), dialOn(t, tp.Aggregator)
			labtest.Await(t, patience, "two subflows", func() bool { return len(list(t, mine)) == 2 && len(list(t, theirs)) == 2 })
			const size = 10_000
			if _, err := client.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			labtest.Await(t, patience, "all acknowledged", func() bool {
				var acked uint64
				for _, s := range list(t, mine) {
					acked += s.Acked
				}
				return acked >= size
			})
			var received uint64
			for _, s := range list(t, theirs) {
				received += s.Received
				if s.Active || s.Token != tokenOf(t, server) || s.Local.Addr() != to {
					t.Errorf("server: %+v", s)
				}
			}
			if received < size {
				t.Errorf("received %d bytes of %d", received, size)
			}
			for _, s := range list(t, mine) {
				first := s.Local.Addr() == wifi
				if !first && s.Local.Addr() != cell || s.First != first || !s.Active || s.Backup || !s.Fully ||
					s.State != mptcp.StateEstablished || s.RTT == 0 || s.Sent < s.Acked-1 || s.Token != tokenOf(t, client) {
					t.Errorf("%+v", s)
				}
				if first != (s.LocalID == 0) {
					t.Errorf("local id %d of %+v", s.LocalID, s)
				}
				one, err := mine.One(s.Local, s.Remote, s.Interface)
				if err != nil || one.Token != s.Token || one.Local != s.Local || one.LocalID != s.LocalID {
					t.Errorf("one: %+v, %v; want %+v", one, err, s)
				}
				wrong := netip.AddrPortFrom(s.Local.Addr(), s.Local.Port()^1)
				if _, err := mine.One(wrong, s.Remote, s.Interface); !errors.Is(err, ErrGone) {
					t.Errorf("no subflow: %v", err)
				}
			}
			for _, s := range list(t, theirs) {
				one, err := theirs.One(s.Local, s.Remote, s.Interface)
				if err != nil || one.Token != s.Token {
					t.Errorf("one at the server: %+v, %v; want %+v", one, err, s)
				}
			}
		})
	}
}

// connect makes a connection over which data has gone both ways.
func connect(t *testing.T, tp *lab.TwoPath, listen, to netip.Addr) (client, server *net.TCPConn) {
	t.Helper()
	var ln *net.TCPListener
	err := tp.Aggregator.Do(func() (err error) {
		ln, err = mptcp.NewListener(netip.AddrPortFrom(listen, 0), mptcp.ListenOptions{
			Mode: mptcp.ModeRequire, Socket: mptcp.SocketOptions{V6Only: mptcp.V6OnlyNo},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	err = tp.Client.Do(func() error {
		d := mptcp.Dialer{ConnectOptions: mptcp.ConnectOptions{Mode: mptcp.ModeRequire}, Timeout: patience}
		c, err := d.DialContext(t.Context(), "tcp", netip.AddrPortFrom(to, port).String())
		if err == nil {
			client = c.TCPConn
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for _, ends := range [][2]*net.TCPConn{{client, server}, {server, client}} {
		if _, err := ends[0].Write([]byte("!")); err != nil {
			t.Fatal(err)
		}
		if _, err := ends[1].Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

func tokenOf(t *testing.T, c *net.TCPConn) uint32 {
	t.Helper()
	s, err := mptcp.StatusOf(c)
	if err != nil || !s.MPTCP {
		t.Fatalf("%+v, %v", s, err)
	}
	return s.Token
}

func FuzzParse(f *testing.F) {
	message := make([]byte, sizeofMessage)
	message[0], message[1] = 2, 1
	f.Add(message)
	f.Add(append(message, 20, 0, 19, 128, 16, 0, 3, 128, 8, 0, 2, 0, 1, 2, 3, 4))
	f.Add(append(message, 12, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok, err := parse(b)
		if ok && (err != nil || s.Token == 0) {
			t.Errorf("%+v, %v", s, err)
		}
	})
}
