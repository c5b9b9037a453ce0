// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

// ways are the hops of an upstream.
type ways []Hop

func (w ways) Hops(*Request) []Hop { return w }

// gate is a hop with the simplest protocol there can be: a line with the
// target, answered by a line with "ok" or what is wrong.
type gate struct {
	addresses []netip.AddrPort
	patient   bool // the client's bytes wait for the answer

	mu      sync.Mutex
	reports []error
}

func (g *gate) Name() string                { return "gate" }
func (g *gate) Addresses() []netip.AddrPort { return g.addresses }
func (g *gate) Resolves() bool              { return true }

func (g *gate) Options(*Client, *Request, netip.AddrPort) mptcp.ConnectOptions {
	return mptcp.ConnectOptions{}
}

func (g *gate) Converse(_ *Client, req *Request, target netip.AddrPort) (Conversation, error) {
	return &gateTalk{gate: g, line: req.Host + target.String() + "\n"}, nil
}

func (g *gate) Report(_ *Request, _ mptcp.Status, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, err)
}

// reported waits until the hop has been told of n attempts.
func (g *gate) reported(t testing.TB, n int) []error {
	t.Helper()
	var got []error
	await(t, "reports", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		got = slices.Clone(g.reports)
		return len(got) >= n
	})
	return got
}

type gateTalk struct {
	gate *gate
	line string
}

func (c *gateTalk) Opening(dst []byte) ([]byte, bool) {
	return append(dst, c.line...), !c.gate.patient
}

func (c *gateTalk) Next(in []byte) (int, []byte, bool, error) {
	line, _, found := bytes.Cut(in, []byte("\n"))
	switch {
	case !found:
		return 0, nil, false, ErrMore
	case string(line) == "ok":
		return len(line) + 1, nil, true, nil
	case string(line) == "again":
		return len(line) + 1, nil, false, ErrRetry
	case string(line) == "down":
		return len(line) + 1, nil, false, HopError(errors.New("gate is shut"))
	}
	return len(line) + 1, nil, false, unix.ECONNREFUSED
}

// keeper answers at a gate: with the answers given, one for each connection,
// then with "ok" and an echo. "" ends the connection without an answer.
func keeper(t testing.TB, answers ...string) netip.AddrPort {
	t.Helper()
	var mu sync.Mutex
	return listen(t, "127.0.0.1:0", func(c *net.TCPConn) {
		one := make([]byte, 1)
		for one[0] != '\n' {
			if _, err := io.ReadFull(c, one); err != nil {
				return
			}
		}
		answer := "ok"
		mu.Lock()
		if len(answers) > 0 {
			answer, answers = answers[0], answers[1:]
		}
		mu.Unlock()
		if answer == "" {
			return
		}
		if _, err := c.Write([]byte(answer + "\n")); err != nil || answer != "ok" {
			return
		}
		echo(c)
	})
}

func TestHops(t *testing.T) {
	closedPort := echoServerGone(t)
	full := netip.MustParseAddrPort(fullServer(t))
	for _, test := range []struct {
		name    string
		early   string // what the client sends with its request
		hops    []*gate
		code    socks.Code
		reports [][]bool // for each hop: was the attempt an error of the way?
	}{
		{"one", "", []*gate{{addresses: []netip.AddrPort{keeper(t)}}}, socks.Succeeded, [][]bool{{false}}},
		{"early bytes go along", "early", []*gate{{addresses: []netip.AddrPort{keeper(t)}}}, socks.Succeeded, [][]bool{{false}}},
		{"early bytes wait", "early", []*gate{{addresses: []netip.AddrPort{keeper(t)}, patient: true}}, socks.Succeeded, [][]bool{{false}}},
		{"once more", "early", []*gate{{addresses: []netip.AddrPort{keeper(t, "again")}}}, socks.Succeeded, [][]bool{{false, false}}},
		{"not for ever", "", []*gate{{addresses: []netip.AddrPort{keeper(t, slices.Repeat([]string{"again"}, maxRetries+1)...)}}}, socks.GeneralFailure, [][]bool{append(make([]bool, maxRetries), true)}},
		{"second hop after a refusal of the first", "early", []*gate{
			{addresses: []netip.AddrPort{closedPort}},
			{addresses: []netip.AddrPort{keeper(t)}},
		}, socks.Succeeded, [][]bool{{true}, {false}}},
		{"second hop after silence of the first", "early", []*gate{
			{addresses: []netip.AddrPort{full}},
			{addresses: []netip.AddrPort{keeper(t)}},
		}, socks.Succeeded, [][]bool{{true}, {false}}},
		{"second hop after an error of the first", "early", []*gate{
			{addresses: []netip.AddrPort{keeper(t, "down")}},
			{addresses: []netip.AddrPort{keeper(t)}},
		}, socks.Succeeded, [][]bool{{true}, {false}}},
		{"second hop after an early end of the first", "", []*gate{
			{addresses: []netip.AddrPort{keeper(t, "")}},
			{addresses: []netip.AddrPort{keeper(t)}},
		}, socks.Succeeded, [][]bool{{true}, {false}}},
		{"the client's bytes are not repeated", "early", []*gate{
			{addresses: []netip.AddrPort{keeper(t, "")}},
			{addresses: []netip.AddrPort{keeper(t)}},
		}, socks.GeneralFailure, [][]bool{{true}, nil}},
		{"the server's own refusal is final", "", []*gate{
			{addresses: []netip.AddrPort{keeper(t, "refused")}},
			{addresses: []netip.AddrPort{keeper(t)}},
		}, socks.ConnectionRefused, [][]bool{{false}, nil}},
		{"happy eyeballs past a refusal", "early", []*gate{{addresses: []netip.AddrPort{closedPort, keeper(t)}}}, socks.Succeeded, [][]bool{{false}}},
		{"happy eyeballs past silence", "early", []*gate{{addresses: []netip.AddrPort{full, keeper(t)}}}, socks.Succeeded, [][]bool{{false}}},
		{"no address", "", []*gate{{addresses: []netip.AddrPort{}}}, socks.GeneralFailure, [][]bool{{true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := socksListener(socks.Config{})
			var hops ways
			for _, h := range test.hops {
				hops = append(hops, h)
			}
			l.Upstream = hops
			complete(l)
			l.Timeouts.Connect = 2 * time.Second // half of it for the first of two hops
			p := serve(t, Options{}, l)
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(hello+requestName("server.example", 80)+test.early))
			expect(t, c, welcome)
			code, _ := readReply(t, c)
			if code != test.code {
				t.Errorf("reply %v, want %v", code, test.code)
			}
			if code == socks.Succeeded {
				expect(t, c, test.early)
				exchange(t, c, "later")
			}
			c.Close()
			p.quiescent()
			r := p.records.wait(t, 1)[0]
			if want := uint64(len(test.early + "later")); code == socks.Succeeded && (r.Up != want || r.Down != want) {
				t.Errorf("record %+v, want %d bytes each way", r, want)
			}
			for i, h := range test.hops {
				reports := h.reported(t, len(test.reports[i]))
				var got []bool
				for _, err := range reports {
					got = append(got, isHopError(err))
				}
				if len(test.reports[i]) > 0 && !slices.Equal(got, test.reports[i]) || len(test.reports[i]) == 0 && slices.Contains(got, true) {
					t.Errorf("hop %d was told %v", i, reports)
				}
			}
		})
	}
}

// What the client has said, and that it has finished, reaches the server even
// if all of it came before the server was connected.
func TestEarlyHalfClose(t *testing.T) {
	server := listen(t, "127.0.0.1:0", func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write([]byte("read " + string(b)))
		}
	})
	for _, mode := range []mptcp.Mode{mptcp.ModeOff, mptcp.ModePrefer} {
		l := socksListener(socks.Config{})
		complete(l)
		l.FirstDataWait = patience / 2
		p := serve(t, Options{}, l)
		release := p.hold()
		c := dialProxy(t, p.addr, mode)
		send(t, c, []byte(hello+request(socks.Connect, server)+"all of it"))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		release()
		expect(t, c, welcome)
		if code, _ := readReply(t, c); code != socks.Succeeded {
			t.Fatal(code)
		}
		expect(t, c, "read all of it")
		expectEnd(t, c)
		c.Close()
		p.quiescent()
		if r := p.records.wait(t, 1)[0]; r.Err != nil {
			t.Errorf("mptcp %v: record %+v", mode, r)
		}
	}
}

// A client that leaves while its server is dialled leaves nothing behind.
func TestEarlyLeave(t *testing.T) {
	full := netip.MustParseAddrPort(fullServer(t))
	p := serve(t, Options{}, forwardTo("", full))
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	await(t, "the connection", func() bool { return p.Stats().Active == 1 })
	if err := c.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if s := p.quiescent(); s.Refused["gone"] != 1 {
		t.Errorf("refused %v", s.Refused)
	}
}

// An intercepted connection is given a moment to send the bytes that can ride
// in the SYN of the next leg.
func TestFirstDataIsWaitedFor(t *testing.T) {
	for _, test := range []struct {
		name, first string
		wait        time.Duration
	}{
		{"it comes", "first", patience},
		{"it does not", "", 10 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := netip.MustParseAddrPort("192.0.2.1:80")
			opening := target.String() + "\n" + test.first
			opened := make(chan struct{})
			door := listen(t, "127.0.0.1:0", func(c *net.TCPConn) {
				// The answer waits for the client's first bytes: they must come
				// along with the request.
				expect(t, c, opening)
				close(opened)
				_, _ = c.Write([]byte("ok\n"))
				echo(c)
			})
			l := forwardTo("", target)
			l.Upstream = ways{&gate{addresses: []netip.AddrPort{door}}}
			l.FirstDataWait = test.wait
			p := serve(t, Options{}, l)
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, c, []byte(test.first))
			<-opened
			exchange(t, c, "rest")
			p.quiescent()
		})
	}
}
