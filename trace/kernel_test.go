// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/capture"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/trace"
)

// captured opens a connection after rules of a host came into force, captured at
// the aggregator.
func captured(t *testing.T, spec lab.TwoPathSpec, rules func(p *pair)) (*pair, *capture.Capture) {
	t.Helper()
	var packets *capture.Capture
	p := connect(t, spec, func(p *pair) {
		packets = labtest.Capture(t, p.Aggregator, "any", "tcp port 5001", capture.Headers...)
		if rules != nil {
			rules(p)
		}
	}, prefer)
	return p, packets
}

// nft adds a rule for packets of a hook on a host.
func nft(t *testing.T, h *lab.Host, hook, rule string) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip(err)
	}
	c := h.Command(t.Context(), "nft", "add table inet box; add chain inet box "+hook+" { type filter hook "+hook+" priority -400; }; add rule inet box "+hook+" "+rule)
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
}

// TestKernelFallsBack has a middlebox strip MPTCP options of segments.
func TestKernelFallsBack(t *testing.T) {
	for name, tt := range map[string]struct {
		rules func(p *pair)
		want  trace.Reason
	}{
		"of SYNs": {func(p *pair) {
			nft(t, p.Aggregator, "prerouting", "tcp dport 5001 reset tcp option mptcp")
		}, trace.NoCapableSYNACK},
		"after the SYN-ACK": {func(p *pair) {
			nft(t, p.Client, "output", "tcp dport 5001 tcp flags & syn == 0 reset tcp option mptcp")
		}, trace.NoCapableACK},
	} {
		t.Run(name, func(t *testing.T) {
			const up, down = 100_000, 200_000
			p, packets := captured(t, lab.TwoPathSpec{}, tt.rules)
			send(t, p.server, p.client, down)
			send(t, p.client, p.server, up)
			p.finish(t)
			c := only(t, awaitConnections(t, packets, 1))
			if c.Outcome != trace.FellBack || c.Fallback != tt.want || c.Ending != trace.TCPFIN || len(c.Subflows) != 1 {
				t.Errorf("%s %q, %s, %d subflows", c.Outcome, c.Fallback, c.Ending, len(c.Subflows))
			}
			if c.Up.Bytes != up || c.Down.Bytes != down || c.Up.Missing+c.Down.Missing+c.Up.Unmapped+c.Down.Unmapped != 0 {
				t.Errorf("up %+v, down %+v", c.Up, c.Down)
			}
		})
	}
}

// TestPlainClient counts a connection that never asked for MPTCP.
func TestPlainClient(t *testing.T) {
	p, packets := captured(t, lab.TwoPathSpec{}, nil)
	p.finish(t)
	p.dial(t, mptcp.ConnectOptions{Mode: mptcp.ModeOff})
	send(t, p.client, p.server, 1000)
	p.finish(t)
	var all analyzed
	labtest.Await(t, patience, "both connections in the capture", func() bool {
		all = analyze(t, packets.File())
		return len(all.connections) == 1 && all.counts.TCP == 1 && all.counts.TCPBytes == 1000
	})
	if c := only(t, all); c.Outcome != trace.Multipath || c.Up.Bytes+c.Down.Bytes != 0 {
		t.Errorf("%+v", c)
	}
}

// TestPathLost cuts Wi-Fi in a download: what was lost is sent again over the
// other path.
func TestPathLost(t *testing.T) {
	p, packets := captured(t, lab.TwoPathSpec{WiFi: lab.LinkSpec{Rate: 20e6}, Cell: lab.LinkSpec{Rate: 20e6}}, nil)
	send(t, p.client, p.server, 10)
	labtest.Await(t, patience, "second subflow", func() bool { return info(t, p.server).Subflows == 1 })
	send(t, p.server, p.client, 500_000)
	nft(t, p.Client, "prerouting", "iifname wifi drop")
	send(t, p.server, p.client, 500_000)
	kernel := info(t, p.server)
	p.finish(t)
	// Wi-Fi carries nothing that could end its subflow.
	var all analyzed
	labtest.Await(t, patience, "the end of both streams in the capture", func() bool {
		all = analyze(t, packets.File())
		return len(all.connections) == 1 && all.connections[0].Up.Ended && all.connections[0].Down.Ended
	})
	c := only(t, all)
	t.Logf("the kernel sent %d bytes again", kernel.BytesRetrans)
	if c.Outcome != trace.Multipath || c.Up.Bytes != 10 || c.Down.Bytes != 1_000_000 || c.Down.Missing+c.Down.Unmapped != 0 {
		t.Errorf("%s, up %+v, down %+v", c.Outcome, c.Up, c.Down)
	}
	if kernel.BytesRetrans == 0 || c.Down.Reinjected < kernel.BytesRetrans {
		t.Errorf("reinjected %d bytes, the kernel says %d", c.Down.Reinjected, kernel.BytesRetrans)
	}
	if len(c.Subflows) != 2 || c.Subflows[1].Down.Reinjected == 0 {
		t.Errorf("subflows %+v", c.Subflows)
	}
}

// TestSubflowRemoved takes the address of the second subflow back.
func TestSubflowRemoved(t *testing.T) {
	p, packets := captured(t, lab.TwoPathSpec{}, nil)
	send(t, p.client, p.server, 10)
	labtest.Await(t, patience, "second subflow", func() bool { return info(t, p.server).Subflows == 1 })
	remove := "ip mptcp endpoint del id $(ip mptcp endpoint show | sed -n 's/^" + p.Cell.Addr.V4.String() + " id \\([0-9]*\\).*/\\1/p')"
	if err := p.Client.Command(t.Context(), "sh", "-c", remove).Run(); err != nil {
		t.Fatal(err)
	}
	labtest.Await(t, patience, "its end", func() bool { return info(t, p.server).Subflows == 0 })
	send(t, p.server, p.client, 1000)
	p.finish(t)
	c := only(t, awaitConnections(t, packets, 1))
	if len(c.Subflows) != 2 || c.Subflows[1].Close.How == trace.NotClosed || c.Subflows[1].Close.By != "client" || c.Subflows[1].Used() {
		t.Errorf("%+v", c.Subflows)
	}
	if len(c.Removed) == 0 || c.Removed[0].By != "client" || c.Removed[0].ID != c.Subflows[1].ClientID {
		t.Errorf("removed %+v", c.Removed)
	}
	if c.Outcome != trace.Multipath || c.Ending != trace.DataFIN || c.Down.Bytes != 1000 {
		t.Errorf("%s, %s, down %+v", c.Outcome, c.Ending, c.Down)
	}
}

// TestAnnounced has the aggregator announce another address.
func TestAnnounced(t *testing.T) {
	p, packets := captured(t, lab.TwoPathSpec{}, func(p *pair) {
		if err := p.Aggregator.Endpoint(p.Cell.Gateway.V4, "cell", "signal"); err != nil {
			t.Fatal(err)
		}
	})
	send(t, p.client, p.server, 10)
	labtest.Await(t, patience, "further subflows", func() bool { return info(t, p.client).AddAddrAccepted == 1 })
	send(t, p.server, p.client, 10)
	p.finish(t)
	c := only(t, awaitConnections(t, packets, 1))
	if len(c.Announced) != 1 || c.Announced[0].Addr != p.Cell.Gateway.V4 || c.Announced[0].By != "server" || c.Announced[0].ID == 0 {
		t.Errorf("announced %+v", c.Announced)
	}
}

// TestAborted gives a connection up.
func TestAborted(t *testing.T) {
	p, packets := captured(t, lab.TwoPathSpec{}, nil)
	send(t, p.client, p.server, 10)
	labtest.Await(t, patience, "second subflow", func() bool { return info(t, p.server).Subflows == 1 })
	if err := p.client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	p.client.Close()
	c := only(t, awaitConnections(t, packets, 1))
	if c.Outcome != trace.Multipath || c.Ending != trace.FastClose {
		t.Errorf("%s, %s", c.Outcome, c.Ending)
	}
	for _, s := range c.Subflows {
		if s.Close.How != trace.ByFastClose || s.Close.By != "client" {
			t.Errorf("%+v", s.Close)
		}
	}
}

// TestFastOpen has data in the SYN, which no mapping tells.
func TestFastOpen(t *testing.T) {
	p, packets := captured(t, lab.TwoPathSpec{}, func(p *pair) {
		for _, h := range []*lab.Host{p.Client, p.Aggregator} {
			if err := h.Sysctl("net/ipv4/tcp_fastopen", "3"); err != nil {
				t.Fatal(err)
			}
		}
	})
	p.finish(t)
	request := bytes.Repeat([]byte("request."), 50)
	for i := range 2 { // the first gets the cookie
		sent := p.dialFast(t, request)
		if (sent == len(request)) != (i == 1) {
			t.Fatalf("connection %d: %d bytes in the SYN", i, sent)
		}
		if _, err := p.client.Write(request[sent:]); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(request))
		if _, err := io.ReadFull(p.server, got); err != nil || !bytes.Equal(got, request) {
			t.Fatalf("%q, %v", got, err)
		}
		send(t, p.server, p.client, 5000)
		send(t, p.client, p.server, 3000)
		p.finish(t)
	}
	all := awaitConnections(t, packets, 3)
	if len(all.connections) != 3 {
		t.Fatalf("%d connections", len(all.connections))
	}
	for i, c := range all.connections[1:] {
		if c.Outcome != trace.Multipath || c.FastOpen != (i == 1) || c.Up.Bytes != uint64(len(request)+3000) || c.Down.Bytes != 5000 ||
			c.Up.Missing+c.Up.Unmapped+c.Down.Missing+c.Down.Unmapped != 0 {
			t.Errorf("%s, Fast Open %t, up %+v, down %+v", c.Outcome, c.FastOpen, c.Up, c.Down)
		}
	}
}

// dialFast opens a connection with data in the SYN if there is a cookie, and
// returns how much.
func (p *pair) dialFast(t *testing.T, data []byte) (sent int) {
	t.Helper()
	inside(t, p.Client, func() error {
		fd, n, err := mptcp.StartConnect(p.at, data, mptcp.ConnectOptions{Mode: mptcp.ModePrefer, FastOpen: true})
		if err != nil {
			return err
		}
		sent = n
		file := os.NewFile(uintptr(fd), "client")
		defer file.Close()
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if _, err := unix.Poll(poll, int(patience.Milliseconds())); err != nil {
			return err
		}
		if err := mptcp.ConnectError(fd); err != nil {
			return err
		}
		c, err := net.FileConn(file)
		if err == nil {
			p.client = c.(*net.TCPConn)
		}
		return err
	})
	p.accept(t)
	return sent
}
