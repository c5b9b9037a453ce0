// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/trace"
)

var prefer = mptcp.ConnectOptions{Mode: mptcp.ModePrefer}

// info is what the kernel tells of a connection.
func info(t *testing.T, c *net.TCPConn) (i mptcp.Info) {
	t.Helper()
	control(t, c, func(fd int) (err error) { i, err = mptcp.InfoOf(fd); return err })
	return i
}

func subflows(t *testing.T, c *net.TCPConn) (list []mptcp.Subflow) {
	t.Helper()
	control(t, c, func(fd int) (err error) { list, err = mptcp.Subflows(fd); return err })
	return list
}

func control(t *testing.T, c *net.TCPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// TestTransfer compares with what the kernel and the programs know of transfers
// over two paths, captured at either end.
func TestTransfer(t *testing.T) {
	const up, down = 300_000, 3_000_000
	captures := map[string]*capture.Capture{}
	spec := lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}, Cell: lab.LinkSpec{Rate: 10e6}}
	p := connect(t, spec, func(p *pair) {
		captures["client"] = labtest.Capture(t, p.Client, "any", "tcp port 5001", capture.Headers...)
		captures["server"] = labtest.Capture(t, p.Aggregator, "any", "tcp port 5001", capture.Headers...)
	}, prefer)
	send(t, p.client, p.server, up/2)
	labtest.Await(t, patience, "second subflow", func() bool { return info(t, p.client).Subflows == 1 })
	send(t, p.server, p.client, down)
	send(t, p.client, p.server, up/2)
	atClient, atServer := info(t, p.client), info(t, p.server)
	received := append(subflows(t, p.server), subflows(t, p.client)...)
	p.finish(t)
	for name, file := range captures {
		t.Run("at the "+name, func(t *testing.T) {
			all := awaitConnections(t, file, 1)
			if all.counts.Headless+all.counts.Strays+all.counts.Malformed+all.counts.TCP != 0 || len(all.connections) != 1 {
				t.Fatalf("%+v", all.counts)
			}
			c := all.connections[0]
			if c.Outcome != trace.Multipath || c.Ending != trace.DataFIN || c.Version != 1 {
				t.Errorf("%s, %s, version %d", c.Outcome, c.Ending, c.Version)
			}
			if uint32(c.ClientToken) != atClient.Token || uint32(c.ServerToken) != atServer.Token {
				t.Errorf("tokens %08x and %08x, the kernel says %08x and %08x", c.ClientToken, c.ServerToken, atClient.Token, atServer.Token)
			}
			for _, d := range []struct {
				trace.Data
				want uint64
			}{{c.Up, up}, {c.Down, down}} {
				if d.Bytes != d.want || d.Missing != 0 || d.Unmapped != 0 || !d.Ended || d.RTT.Samples == 0 {
					t.Errorf("%+v, want %d bytes", d.Data, d.want)
				}
			}
			if c.Up.Reinjected < atClient.BytesRetrans && name == "client" || c.Down.Reinjected < atServer.BytesRetrans && name == "server" {
				t.Errorf("reinjected %d and %d, the kernel says %d and %d", c.Up.Reinjected, c.Down.Reinjected, atClient.BytesRetrans, atServer.BytesRetrans)
			}
			compareSubflows(t, c, received, p)
		})
	}
}

// compareSubflows compares with what the kernels say that they received. (What
// they say of what they sent counts segments that the queue of a device drops.)
func compareSubflows(t *testing.T, c *trace.Connection, received []mptcp.Subflow, p *pair) {
	t.Helper()
	if len(c.Subflows) != 2 || len(received) != 4 {
		t.Fatalf("%d subflows, the kernels have %d ends", len(c.Subflows), len(received))
	}
	var up, down uint64
	for i, s := range c.Subflows {
		want := []netip.Addr{p.WiFi.Addr.V4, p.Cell.Addr.V4}[i]
		if s.Client.Addr() != want || s.Server != p.at || s.Opening != trace.Established || s.OpenedBy != "client" || s.Close.How != trace.ByFIN {
			t.Errorf("subflow %+v, want one from %s", s, want)
		}
		if (s.Join > 0) != (i == 1) || s.Handshake <= 0 || s.Down.RTT.Samples == 0 || s.Down.RTT.Median < s.Down.RTT.Min {
			t.Errorf("join after %v, handshake of %v, RTT %+v", s.Join, s.Handshake, s.Down.RTT)
		}
		up += s.Up.Bytes - s.Up.Reinjected
		down += s.Down.Bytes - s.Down.Reinjected
		for _, k := range received {
			want := s.Up.Bytes
			if k.Local == s.Client {
				want = s.Down.Bytes
			} else if k.Remote != s.Client {
				continue
			}
			if k.TCP.BytesReceived != want {
				t.Errorf("%d bytes to %s, which says %d", want, k.Local, k.TCP.BytesReceived)
			}
		}
	}
	if up != c.Up.Bytes || down != c.Down.Bytes {
		t.Errorf("subflows carried %d and %d bytes, the connection %d and %d", up, down, c.Up.Bytes, c.Down.Bytes)
	}
}
