// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/converter/wire"
)

func mustConnect(t testing.TB, d *Dialer, target netip.AddrPort, extras Extras) *Exchange {
	t.Helper()
	x, err := d.Connect(target, extras)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// converse takes an exchange through all its attempts against a server, and
// returns how many there were.
func converse(t testing.TB, x *Exchange, s *Server, client netip.Addr, now time.Time) (Answer, int, error) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		if attempt > MaxAttempts {
			t.Fatal("too many attempts")
		}
		in := x.AppendRequest(nil, now)
		req, n, err := s.Read(client, append(in, "data"...), now)
		var reply []byte
		var r *Refusal
		switch {
		case errors.As(err, &r):
			reply = r.Answer
		case err != nil || n != len(in):
			t.Fatalf("server read %d of %d bytes: %v", n, len(in), err)
		case req.Info:
			reply = req.Answer
		default:
			reply = s.Success(nil, &req, nil, req.Choices.Set)
		}
		a, n, err := x.Read(append(reply, "data"...), now)
		if err == nil && n != len(reply) {
			t.Fatalf("read %d of %d bytes", n, len(reply))
		}
		if !errors.Is(err, ErrRetry) {
			return a, attempt, err
		}
	}
}

func TestRequestVectors(t *testing.T) {
	withCookie := NewDialer(DialerConfig{})
	withCookie.issued([]byte("cookie"), noon)
	tests := map[string]*Exchange{
		"connect IPv4": mustConnect(t, NewDialer(DialerConfig{}), server4, Extras{}),
		"connect IPv6": mustConnect(t, NewDialer(DialerConfig{}), server6, Extras{}),
		"connect with window scale": mustConnect(t, NewDialer(DialerConfig{}), netip.MustParseAddrPort("192.0.2.1:80"),
			Extras{Options: []wire.TCPOption{{Kind: 3, Value: []byte{7}}}}),
		"info":                NewDialer(DialerConfig{}).Inform(),
		"connect with cookie": mustConnect(t, withCookie, server4, Extras{}),
	}
	for name, x := range tests {
		diff(t, name, append([]byte("before"), unhex(t, vectors[name])...), x.AppendRequest([]byte("before"), noon))
	}
}

func TestAnswerVectors(t *testing.T) {
	tests := map[string]struct {
		answer Answer
		err    error
	}{
		"supported":            {answer: Answer{Supported: []uint8{3, 4, 8, 30}}},
		"success":              {},
		"success with options": {answer: Answer{SYNACK: unhex(t, "02 04 05 b4 01 03 03 0a")}},
		"server speaks MPTCP": {answer: Answer{
			SYNACK: unhex(t, "02 04 05 b4 1e 0c 01 00 00 00 00 00 00 00 00 00"), ServerMPTCP: true,
		}},
		"connection reset":       {err: unix.ECONNREFUSED},
		"missing cookie":         {err: ErrRetry},
		"resource exceeded":      {err: ErrUnavailable},
		"unsupported version":    {err: ErrIncompatible},
		"unsupported TCP option": {err: ErrUnsupportedOption},
	}
	for name, v := range answers {
		t.Run(name, func(t *testing.T) {
			test, known := tests[name]
			if !known {
				t.Fatal("nothing is expected of it")
			}
			x := mustConnect(t, NewDialer(DialerConfig{}), server4, Extras{})
			x.AppendRequest(nil, noon)
			in := unhex(t, v)
			for i := range in {
				if _, n, err := x.Read(in[:i], noon); err != wire.ErrShort || n != 0 {
					t.Fatalf("%d of %d bytes: %d, %v", i, len(in), n, err)
				}
			}
			a, n, err := x.Read(append(in, "HTTP/1.1 200"...), noon)
			if !errors.Is(err, test.err) || (err == nil) != (n == len(in)) {
				t.Errorf("got %d of %d bytes, %v; want %v", n, len(in), err, test.err)
			}
			diff(t, "answer", test.answer, a)
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, in := range map[string]string{
		"another protocol":     "48 54 54 50 2f 31 2e 31",
		"another version":      "02 01 22 63",
		"total length 0":       "01 00 22 63",
		"request":              "01 06 22 63" + connect4,
		"info":                 "01 02 22 63" + info,
		"cookie":               "01 03 22 63 16 02 00 00 01 02 03 04",
		"unknown TLV":          "01 02 22 63 2a 01 00 00",
		"TLV length 0":         "01 02 22 63 14 00 00 00",
		"TLV overruns":         "01 02 22 63 14 02 00 00",
		"supported twice":      "01 03 22 63 15 01 00 00 15 01 00 00",
		"malformed beats code": "01 03 22 63 1e 01 60 00 1e 01 60 00",
	} {
		x := mustConnect(t, NewDialer(DialerConfig{}), server4, Extras{})
		x.AppendRequest(nil, noon)
		if a, n, err := x.Read(unhex(t, in), noon); !errors.Is(err, ErrIncompatible) || n != 0 {
			t.Errorf("%s: got %+v, %d, %v", name, a, n, err)
		}
	}
}

func TestConnectRefuses(t *testing.T) {
	d := NewDialer(DialerConfig{})
	for _, target := range []string{
		"127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80", "[::]:80", "224.0.0.1:80", "[ff02::1]:80",
		"255.255.255.255:80", "192.0.2.1:0", "[fe80::1%eth0]:80",
	} {
		if _, err := d.Connect(netip.MustParseAddrPort(target), Extras{}); !errors.Is(err, ErrMalformedTarget) {
			t.Errorf("%s: got %v", target, err)
		}
	}
	if _, err := d.Connect(netip.AddrPort{}, Extras{}); !errors.Is(err, ErrMalformedTarget) {
		t.Errorf("no address: got %v", err)
	}
	for name, extras := range map[string]Extras{
		"an option without a length": {Options: []wire.TCPOption{{Kind: 1}}},
		"options beyond a header":    {Options: []wire.TCPOption{{Kind: 254, Value: make([]byte, 39)}}},
		"a TLV that is not private":  {Private: []wire.Private{{Type: wire.TypeInfo}}},
		"a TLV twice":                {Private: []wire.Private{{Type: 224}, {Type: 224}}},
		"a TLV that leaves no room":  {Private: []wire.Private{{Type: 224, Body: make([]byte, 800)}}},
	} {
		if _, err := d.Connect(server4, extras); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := NewDialer(DialerConfig{AllowLoopback: true}).Connect(netip.MustParseAddrPort("127.0.0.1:80"), Extras{}); err != nil {
		t.Errorf("loopback, allowed: %v", err)
	}
}

func TestCookieIsFetchedAndKept(t *testing.T) {
	s, d := testServer(mustJar(t, secret, time.Hour)), NewDialer(DialerConfig{})
	for i, want := range []struct {
		after    time.Duration
		client   netip.Addr
		attempts int
	}{
		{0, client4, 2},
		{time.Second, client4, 1},
		{time.Hour, client4, 1},            // the key before
		{3 * time.Hour, client4, 3},        // a stale cookie, none, a fresh one
		{3*time.Hour + 1, client4, 1},      //
		{3*time.Hour + 6e9, client6, 3},    // another access network
		{3*time.Hour + 7e9, client6, 1},    //
		{3*time.Hour + 20e9, client6, 1},   //
		{100 * 24 * time.Hour, client6, 3}, //
	} {
		_, attempts, err := converse(t, mustConnect(t, d, server4, Extras{}), s, want.client, noon.Add(want.after))
		if err != nil || attempts != want.attempts {
			t.Errorf("request %d: %d attempts, want %d: %v", i, attempts, want.attempts, err)
		}
	}
	if _, attempts, err := converse(t, NewDialer(DialerConfig{}).Inform(), s, client4, noon); err != nil || attempts != 2 {
		t.Errorf("info: %d attempts: %v", attempts, err)
	}
}

// A refusal that is about the request must not cost the cookie, nor be asked
// about again and again.
func TestRefusalIsTellable(t *testing.T) {
	jar := mustJar(t, secret, time.Hour)
	s, d := testServer(jar), NewDialer(DialerConfig{})
	denied := s.Failure(nil, &Request{Target: server4}, ErrNotAuthorized)
	ask := func(now time.Time) (attempts int, err error) {
		x := mustConnect(t, d, server4, Extras{})
		for {
			attempts++
			in := x.AppendRequest(nil, now)
			_, _, err := s.Read(client4, in, now)
			reply := denied
			var r *Refusal
			if errors.As(err, &r) {
				reply = r.Answer
			}
			if _, _, err = x.Read(reply, now); !errors.Is(err, ErrRetry) {
				return attempts, err
			}
		}
	}
	for i, want := range []struct {
		after    time.Duration
		attempts int
	}{
		{0, 2},                // for the cookie
		{time.Second / 2, 1},  // which is beyond doubt
		{10 * time.Second, 2}, // the converter is asked whether it still is
		{10*time.Second + time.Second/2, 1},
	} {
		attempts, err := ask(noon.Add(want.after))
		if attempts != want.attempts || !errors.Is(err, ErrNotAuthorized) {
			t.Errorf("request %d: %d attempts, want %d: %v", i, attempts, want.attempts, err)
		}
	}
}

// A converter that demands a cookie that it never accepts ends somewhere.
func TestCookieLoopEnds(t *testing.T) {
	for name, next := range map[string]func(i byte) []byte{
		"none":            func(byte) []byte { return nil },
		"always the same": func(byte) []byte { return []byte{9, 9, 9} },
		"always another":  func(i byte) []byte { return []byte{i, i, i} },
		"too long":        func(i byte) []byte { return append(make([]byte, 400), i) },
	} {
		x := mustConnect(t, NewDialer(DialerConfig{}), server4, Extras{})
		for i := byte(1); ; i++ {
			if i > MaxAttempts {
				t.Errorf("%s: no end", name)
				break
			}
			x.AppendRequest(nil, noon)
			m := wire.Message{Error: wire.MissingCookieError(next(i))}
			b, err := m.AppendTo(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = x.Read(b, noon); !errors.Is(err, ErrRetry) {
				if !errors.Is(err, ErrNotAuthorized) {
					t.Errorf("%s: got %v", name, err)
				}
				break
			}
		}
	}
}

func TestUnsupportedIsLeftOut(t *testing.T) {
	extras := Extras{
		Options: []wire.TCPOption{{Kind: 28, Value: []byte{0x80, 5}}, {Kind: 30}},
		Private: []wire.Private{{Type: 224, Body: []byte{1, 2}}, {Type: 225, Body: []byte{3, 4}}},
	}
	s, d := testServer(nil), NewDialer(DialerConfig{})
	for i, want := range []struct {
		after    time.Duration
		attempts int
	}{{0, 3}, {time.Minute, 1}, {2 * time.Hour, 3}} {
		x := mustConnect(t, d, server4, extras)
		_, attempts, err := converse(t, x, s, client4, noon.Add(want.after))
		if err != nil || attempts != want.attempts {
			t.Errorf("request %d: %d attempts, want %d: %v", i, attempts, want.attempts, err)
		}
		diff(t, "options asked", []wire.TCPOption{{Kind: 30}}, x.asked.Options)
		diff(t, "TLVs sent", []wire.Private{{Type: 224, Body: []byte{1, 2}}}, x.asked.Private)
	}
	if len(extras.Options) != 2 || extras.Options[0].Kind != 28 || len(extras.Private) != 2 {
		t.Error("the caller's extras were changed")
	}
}

func TestKeepsAway(t *testing.T) {
	for _, code := range []wire.ErrorCode{wire.ResourceExceeded, wire.NetworkFailure} {
		for _, test := range []struct{ configured, away time.Duration }{
			{0, MinKeepAway}, {time.Second, MinKeepAway}, {time.Minute, time.Minute},
		} {
			d := NewDialer(DialerConfig{KeepAway: test.configured})
			if !d.Available(noon) {
				t.Fatal("kept away before the first request")
			}
			x := d.Inform()
			x.AppendRequest(nil, noon)
			if _, _, err := x.Read([]byte{1, 2, 0x22, 0x63, 30, 1, byte(code), 0}, noon); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: got %v", code, err)
			}
			if d.Available(noon.Add(test.away-1)) || !d.Available(noon.Add(test.away)) {
				t.Errorf("%s: not kept away for %s", code, test.away)
			}
		}
	}
}

func TestServersWithMPTCPAreRemembered(t *testing.T) {
	d := NewDialer(DialerConfig{Servers: 4})
	see := func(i int, now time.Time) netip.AddrPort {
		target := netip.AddrPortFrom(server4.Addr(), uint16(i))
		x := mustConnect(t, d, target, Extras{})
		x.AppendRequest(nil, now)
		if _, _, err := x.Read(unhex(t, answers["server speaks MPTCP"]), now); err != nil {
			t.Fatal(err)
		}
		return target
	}
	first := see(1, noon)
	if !d.SpeaksMPTCP(first, noon) || !d.SpeaksMPTCP(netip.AddrPortFrom(netip.AddrFrom16(first.Addr().As16()), 1), noon) {
		t.Error("forgot at once")
	}
	if d.SpeaksMPTCP(server4, noon) {
		t.Error("took another port for the same server")
	}
	if d.SpeaksMPTCP(first, noon.Add(serverMemory)) {
		t.Error("remembers for ever")
	}
	d.Forget(first)
	if d.SpeaksMPTCP(first, noon) {
		t.Error("does not forget")
	}
	for i := 1; i <= 1000; i++ {
		last := see(i, noon)
		if !d.SpeaksMPTCP(last, noon) {
			t.Fatal("forgot the last one")
		}
		if n := len(d.servers.younger) + len(d.servers.older); n > 4 {
			t.Fatalf("%d servers remembered", n)
		}
	}
	if !d.SpeaksMPTCP(netip.AddrPortFrom(server4.Addr(), 999), noon) || d.SpeaksMPTCP(first, noon) {
		t.Error("forgets the young rather than the old")
	}
}
