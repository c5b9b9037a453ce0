// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	socks5 "github.com/armon/go-socks5"
	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/mptcp"
	"github.com/tandem-gateway/tandem/proxy/policy"
	"github.com/tandem-gateway/tandem/proxy/socks"
)

func limiter(t testing.TB, c policy.LimitsConfig) *policy.Limiter {
	t.Helper()
	l, err := policy.NewLimiter(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLimits(t *testing.T) {
	server := echoServer(t)
	for _, test := range []struct {
		name   string
		limits policy.LimitsConfig
		reason policy.Reason
	}{
		{"total", policy.LimitsConfig{Total: 2}, policy.Total},
		{"per source", policy.LimitsConfig{PerSource: 2}, policy.PerSource},
		{"rate", policy.LimitsConfig{Rate: 0.001, Burst: 2}, policy.Rate},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := serve(t, Options{Limiter: limiter(t, test.limits)}, socksListener(socks.Config{}))
			first := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
			second := throughSOCKS(t, p.addr, server, mptcp.ModeOff)
			third := dialProxy(t, p.addr, mptcp.ModePrefer)
			send(t, third, []byte(hello+request(socks.Connect, server)))
			expect(t, third, welcome)
			if code, _ := readReply(t, third); code != socks.GeneralFailure {
				t.Errorf("reply %v", code)
			}
			expectEnd(t, third)
			third.Close()
			// Those that were let in are not disturbed.
			exchange(t, first, "one")
			exchange(t, second, "two")
			s := p.quiescent()
			if got := s.Refused["limit-"+test.reason.String()]; got != 1 || s.Relayed != 2 {
				t.Errorf("stats %+v", s)
			}
			if test.reason == policy.Rate {
				return
			}
			exchange(t, throughSOCKS(t, p.addr, server, mptcp.ModeOff), "places are given back")
		})
	}
}

func TestPendingLimitIsOfHandshakes(t *testing.T) {
	server := echoServer(t)
	lim := limiter(t, policy.LimitsConfig{Pending: 1})
	p := serve(t, Options{Limiter: lim}, socksListener(socks.Config{}))
	throughSOCKS(t, p.addr, server, mptcp.ModeOff)
	throughSOCKS(t, p.addr, server, mptcp.ModeOff)
	dialProxy(t, p.addr, mptcp.ModeOff) // says nothing
	await(t, "the silent client", func() bool { return lim.Stats().Connections == 3 })
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	send(t, c, []byte(hello+request(socks.Connect, server)))
	expect(t, c, welcome)
	if code, _ := readReply(t, c); code != socks.GeneralFailure {
		t.Errorf("reply %v", code)
	}
	if got := p.Stats().Refused["limit-pending"]; got != 1 {
		t.Errorf("refused %v", p.Stats().Refused)
	}
}

// Clients that are refused and do not come to the point hold few places.
func TestRefusedClientsDoNotPileUp(t *testing.T) {
	p := serve(t, Options{Workers: 1, Limiter: limiter(t, policy.LimitsConfig{Total: 1})}, socksListener(socks.Config{}))
	const many = maxRefusing + 40
	for range many {
		if _, err := tryProxy(t, p.addr, mptcp.ModeOff); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
	}
	await(t, "all to be accepted and most to be reset", func() bool {
		s := p.Stats()
		return s.Accepted == many && s.Active <= maxRefusing+1
	})
	s := p.Stats()
	if s.Refused["limit-total"] != many-1 {
		t.Errorf("refused %v", s.Refused)
	}
}

func TestSourcesAreRefusedAtOnce(t *testing.T) {
	l := socksListener(socks.Config{})
	l.Sources = policy.NewSources([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	p := serve(t, Options{}, l)
	expectReset(t, p.addr, mptcp.ModeOff)
	if s := p.quiescent(); s.Refused["source"] != 1 {
		t.Errorf("refused %v", s.Refused)
	}
}

func TestClientWithoutMPTCPWhereItIsRequired(t *testing.T) {
	server := echoServer(t)
	l := socksListener(socks.Config{})
	l.Require = true
	p := serve(t, Options{}, l)
	exchange(t, throughSOCKS(t, p.addr, server, mptcp.ModeRequire), "welcome")
	c := dialProxy(t, p.addr, mptcp.ModeOff)
	send(t, c, []byte(hello+request(socks.Connect, server)))
	expect(t, c, welcome)
	if code, _ := readReply(t, c); code != socks.NotAllowed {
		t.Errorf("reply %v", code)
	}
	c.Close()
	if s := p.quiescent(); s.Refused["tcp"] != 1 || s.ClientMPTCP != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestBadHandshakes(t *testing.T) {
	for _, test := range []struct {
		name   string
		send   string
		answer string // what the client is told
		ends   bool   // without the client's doing
	}{
		{"nothing", "", "", false},
		{"half a greeting", "\x05", "", false},
		{"half a request", hello + "\x05\x01\x00\x01\x7f", welcome, false},
		{"garbage", "\x93garbage garbage garbage", "", true},
		{"64 KiB of zeros", strings.Repeat("\x00", 64<<10), "", true},
		{"255 methods, none of ours", "\x05\xff" + strings.Repeat("\x80", 255), "\x05\xff", true},
		{"255 methods, one of ours", "\x05\xff" + strings.Repeat("\x80", 254) + "\x00", welcome, false},
		{"255 control characters", hello + "\x05\x01\x00\x03\xff" + strings.Repeat("\x07", 255) + "\x00\x50", welcome + "\x05\x04\x00\x01", true},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request", true},
		{"SOCKS4", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "\x00\x5b", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := serve(t, Options{}, socksListener(socks.Config{}))
			c := dialProxy(t, p.addr, mptcp.ModePrefer)
			// A reset may come before all of 64 KiB have been written.
			if _, err := c.Write([]byte(test.send)); err != nil && !test.ends {
				t.Fatal(err)
			}
			expect(t, c, test.answer)
			if test.ends {
				await(t, "the refusal", func() bool { return p.Stats().Refused["handshake"]+p.Stats().Refused["authentication"] == 1 })
				await(t, "the line in the log", func() bool { return p.log.count(slog.LevelDebug, "refused") == 1 })
			}
			c.Close()
			p.quiescent()
		})
	}
}

func TestHandshakeTimeout(t *testing.T) {
	for _, said := range []string{"", "\x05", hello, hello + "\x05\x01\x00\x01"} {
		l := socksListener(socks.Config{})
		complete(l)
		l.Timeouts.Handshake = 20 * time.Millisecond
		p := serve(t, Options{}, l)
		c := dialProxy(t, p.addr, mptcp.ModePrefer)
		if _, err := c.Write([]byte(said)); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
		// The reset may come before the client has read its greeting.
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Fatal("the connection is still there")
		}
		if s := p.quiescent(); s.Refused["handshake"] != 1 {
			t.Errorf("after %q: %+v", said, s)
		}
	}
}

func TestOneByteAtATime(t *testing.T) {
	server := echoServer(t)
	p := serve(t, Options{}, socksListener(socks.Config{Users: socks5.StaticCredentials{"ada": "secret"}}))
	c := dialProxy(t, p.addr, mptcp.ModeOff) // with MPTCP a byte need not travel alone
	if err := c.SetNoDelay(true); err != nil {
		t.Fatal(err)
	}
	for _, b := range []byte(authHi + authMine + request(socks.Connect, server) + "data") {
		send(t, c, []byte{b})
	}
	expect(t, c, "\x05\x02\x01\x00")
	if code, _ := readReply(t, c); code != socks.Succeeded {
		t.Fatal(code)
	}
	expect(t, c, "data")
	exchange(t, c, "more")
	p.quiescent()
}

func TestTunnelsOutliveTheTimersOfTheirBeginning(t *testing.T) {
	server := echoServer(t)
	l := socksListener(socks.Config{})
	complete(l)
	l.Timeouts.Handshake, l.Timeouts.Connect = 30*time.Millisecond, 30*time.Millisecond
	p := serve(t, Options{}, l)
	c := throughSOCKS(t, p.addr, server, mptcp.ModePrefer)
	// Later clients that run into both time-outs show that they have passed.
	silent := dialProxy(t, p.addr, mptcp.ModePrefer)
	expectEnd(t, silent)
	full := netip.MustParseAddrPort(fullServer(t))
	stuck := dialProxy(t, p.addr, mptcp.ModePrefer)
	send(t, stuck, []byte(hello+request(socks.Connect, full)))
	expect(t, stuck, welcome)
	if code, _ := readReply(t, stuck); code != socks.TTLExpired {
		t.Fatal(code)
	}
	exchange(t, c, "still there")
	stuck.Close()
	p.quiescent()
}
