// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/converter/wire"
)

// testServer knows what an ordinary Linux offers, and one private TLV.
func testServer(cookies *CookieJar) *Server {
	return NewServer(ServerConfig{
		Cookies:      cookies,
		Supported:    []uint8{0, 1, 2, 3, 4, 5, 8, 29, 30, 34, 8},
		Copied:       []uint8{34},
		PrivateTypes: []wire.Type{224},
	})
}

func TestServerReadsVectors(t *testing.T) {
	supported := []byte{1, 4, 0x22, 0x63, 21, 3, 0, 0, 3, 4, 8, 30, 34, 0, 0, 0}
	want := map[string]Request{
		"connect IPv4":              {Target: server4},
		"connect IPv6":              {Target: server6},
		"connect with window scale": {Target: netip.MustParseAddrPort("192.0.2.1:80")},
		"info":                      {Info: true, Answer: supported},
		"connect with cookie":       {Target: server4}, // cookies are off: it is not looked at
	}
	for name, v := range vectors {
		t.Run(name, func(t *testing.T) {
			in := unhex(t, v)
			req, n, err := testServer(nil).Read(client4, append(in, "GET / HTTP/1.1"...), noon)
			if err != nil || n != len(in) {
				t.Fatalf("read %d of %d bytes: %v", n, len(in), err)
			}
			diff(t, "request", want[name], req)
			for i := range in {
				if _, n, err := testServer(nil).Read(client4, in[:i], noon); err != wire.ErrShort || n != 0 {
					t.Fatalf("%d of %d bytes: %d, %v", i, len(in), n, err)
				}
			}
		})
	}
}

func TestServerReadsWhatIsAskedFor(t *testing.T) {
	const target = "01 bb 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01"
	tests := []struct {
		name, tlvs string
		want       Request
	}{
		{"info along with connect", info + connect4, Request{Target: server4, Supported: true}},
		{"private TLV", connect4 + "e0 02 00 00 01 02 03 04",
			Request{Target: server4, Private: []wire.Private{{Type: 224, Body: []byte{0, 0, 1, 2, 3, 4}}}}},
		{"MPTCP", "0a 06" + target + "1e 02 00 00",
			Request{Target: server4, ProbeMPTCP: true, Options: []wire.TCPOption{{Kind: 30, Value: []byte{}}}}},
		{"MPTCP with a key of the client's", "0a 08" + target + "1e 0c 01 81 01 02 03 04 05 06 07 08",
			Request{Target: server4, ProbeMPTCP: true, Options: []wire.TCPOption{{Kind: 30, Value: []byte{1, 0x81, 1, 2, 3, 4, 5, 6, 7, 8}}}}},
		{"fast open, cookie wanted", "0a 06" + target + "22 02 00 00",
			Request{Target: server4, FastOpen: true, Options: []wire.TCPOption{{Kind: 34, Value: []byte{}}}}},
		{"fast open, cookie given", "0a 07" + target + "22 06 01 02 03 04 00 00",
			Request{Target: server4, FastOpen: true, FastOpenCookie: []byte{1, 2, 3, 4}, Options: []wire.TCPOption{{Kind: 34, Value: []byte{1, 2, 3, 4}}}}},
		{"options without a say", "0a 08" + target + "02 04 05 b4 05 02 01 03 03 07 00 00",
			Request{Target: server4}},
		{"options with a value of our own", "0a 09" + target + "04 02 08 0a 00 00 00 01 00 00 00 00 00 00 00 00",
			Request{Target: server4, Options: []wire.TCPOption{{Kind: 4, Value: []byte{}}, {Kind: 8, Value: []byte{0, 0, 0, 1, 0, 0, 0, 0}}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req, _, err := testServer(nil).Read(client4, message(t, test.tlvs), noon)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "request", test.want, req)
		})
	}
}

// Every field wrong in turn: what is answered, byte for byte.
func TestServerRefuses(t *testing.T) {
	connect := func(port, addr, options string) string {
		words := 5 + len(unhex(t, options))/4
		return fmt.Sprintf("01 %02x 22 63 0a %02x", 1+words, words) + port + addr + options
	}
	const (
		addr      = "00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01"
		malformed = "01 02 22 63 1e 01 01 00"
	)
	tests := []struct{ name, hex, answer string }{
		{"version 0", "00 01 22 63", "01 02 22 63 1e 01 00 01"},
		{"version 2", "02 06 22 63", "01 02 22 63 1e 01 00 01"},
		{"total length 0", "01 00 22 63", malformed},
		{"magic", "01 06 22 64", ""},
		{"no TLV", "01 01 22 63", malformed},
		{"TLV type unknown", "01 07 22 63" + connect4 + "2a 01 00 00", "01 02 22 63 1e 01 02 2a"},
		{"TLV of a converter: extended header", "01 07 22 63" + connect4 + "14 01 00 00", "01 02 22 63 1e 01 02 14"},
		{"TLV of a converter: supported", "01 07 22 63" + connect4 + "15 01 00 00", "01 02 22 63 1e 01 02 15"},
		{"private TLV without a meaning here", "01 07 22 63" + connect4 + "e1 01 00 00", "01 02 22 63 1e 01 02 e1"},
		{"all of these", "01 0b 22 63" + connect4 + "2a 01 00 00 14 01 00 00 15 01 00 00 e0 01 00 00 e1 01 00 00", "01 03 22 63 1e 02 02 2a 14 15 e1 00"},
		{"error of a client", "01 02 22 63 1e 01 00 02", ""},
		{"TLV length 0", "01 02 22 63 01 00 00 00", malformed},
		{"TLV overruns", "01 02 22 63 01 02 00 00", malformed},
		{"info of two words", "01 03 22 63 01 02 00 00 00 00 00 00", malformed},
		{"info twice", "01 03 22 63 01 01 00 00 01 01 00 00", malformed},
		{"connect twice", "01 0b 22 63" + connect4 + connect4, malformed},
		{"connect too short", "01 05 22 63 0a 04 01 bb 00 00 00 00 00 00 00 00 00 00 ff ff", malformed},
		{"cookie alone", "01 03 22 63 16 02 00 00 01 02 03 04", malformed},
		{"port 0", connect("00 00", addr, ""), malformed},
		{"address unspecified, IPv4", connect("01 bb", "00 00 00 00 00 00 00 00 00 00 ff ff 00 00 00 00", ""), malformed},
		{"address unspecified, IPv6", connect("01 bb", "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", ""), malformed},
		{"address multicast, IPv4", connect("01 bb", "00 00 00 00 00 00 00 00 00 00 ff ff e0 00 00 01", ""), malformed},
		{"address multicast, IPv6", connect("01 bb", "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01", ""), malformed},
		{"address broadcast", connect("01 bb", "00 00 00 00 00 00 00 00 00 00 ff ff ff ff ff ff", ""), malformed},
		{"address loopback, IPv4", connect("01 bb", "00 00 00 00 00 00 00 00 00 00 ff ff 7f 00 00 01", ""), malformed},
		{"address loopback, IPv6", connect("01 bb", "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01", ""), malformed},
		{"option length 0", connect("01 bb", addr, "1e 00 00 00"), malformed},
		{"option length 1", connect("01 bb", addr, "1e 01 00 00"), malformed},
		{"option overruns", connect("01 bb", addr, "1e 05 00 00"), malformed},
		{"option not supported", connect("01 bb", addr, "1c 04 80 05"), "01 02 22 63 1e 01 21 1c"},
		{"options not supported", connect("01 bb", addr, "1c 04 80 05 fe 02 1c 02"), "01 03 22 63 1e 02 21 1c fe 00 00 00"},
		{"option that cannot be announced", connect("01 bb", addr, "1d 04 00 00"), "01 02 22 63 1e 01 21 1d"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := unhex(t, test.hex)
			_, n, err := testServer(nil).Read(client4, in, noon)
			var r *Refusal
			if !errors.As(err, &r) || n != 0 || r.Err == nil {
				t.Fatalf("got %d, %v", n, err)
			}
			diff(t, "answer", unhex(t, test.answer), r.Answer)
			if len(r.Answer) > 0 && parse(t, r.Answer).Error.Code != r.Code {
				t.Errorf("code %s goes with % x", r.Code, r.Answer)
			}
		})
	}
}

func TestServerRefusesLongOptions(t *testing.T) {
	m := wire.Message{Connect: &wire.Connect{Addr: server4.Addr(), Port: 443, Options: []wire.TCPOption{
		{Kind: 30, Value: make([]byte, 20)}, {Kind: 34, Value: make([]byte, 18)},
	}}}
	in, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = testServer(nil).Read(client4, in, noon)
	var r *Refusal
	if !errors.As(err, &r) || r.Code != wire.MalformedMessage {
		t.Errorf("got %v", err)
	}
}

func TestServerMayAllowLoopback(t *testing.T) {
	s := NewServer(ServerConfig{AllowLoopback: true})
	for _, target := range []string{"127.0.0.1:80", "[::1]:80"} {
		m := wire.Message{Connect: &wire.Connect{Addr: netip.MustParseAddrPort(target).Addr(), Port: 80}}
		in, err := m.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Read(client4, in, noon); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestServerWithCookies(t *testing.T) {
	jar := mustJar(t, secret, 0)
	s := testServer(jar)
	refusal := func(tlvs string) *Refusal {
		t.Helper()
		_, _, err := s.Read(client6, message(t, tlvs), noon)
		var r *Refusal
		if !errors.As(err, &r) {
			t.Fatalf("got %v", err)
		}
		return r
	}
	for _, tlvs := range []string{connect4, info, info + connect4} {
		r := refusal(tlvs)
		e := parse(t, r.Answer).Error
		if e.Code != wire.MissingCookie || !jar.Valid(client6, e.Cookie(), noon) || e.Value[0] != 0 {
			t.Errorf("%s: answered % x", tlvs, r.Answer)
		}
	}
	for _, cookie := range []string{"16 01 00 00", "16 05 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"} {
		r := refusal(connect4 + cookie)
		diff(t, "answer", unhex(t, "01 02 22 63 1e 01 20 00"), r.Answer)
		if !errors.Is(r, ErrNotAuthorized) {
			t.Errorf("got %v", r)
		}
	}
	// What is malformed is told to everybody: it costs nothing.
	if r := refusal(""); r.Code != wire.MalformedMessage {
		t.Errorf("got %v", r)
	}

	m := wire.Message{Info: true, Cookie: jar.Issue(client6, noon)}
	in, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	if req, _, err := s.Read(client6, in, noon); err != nil || !req.Info {
		t.Errorf("with its cookie: %+v, %v", req, err)
	}
}
