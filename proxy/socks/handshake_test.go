// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	socks5 "github.com/armon/go-socks5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// outcome is what a server's handshake made of the bytes of a client.
type outcome struct {
	Request *Request
	Reply   string
	Rest    string // not consumed: payload after the request
	Err     error
}

// serve feeds a handshake with the pieces of a client's bytes as they arrive.
func serve(t testing.TB, s *Server, pieces ...string) outcome {
	t.Helper()
	h := s.Handshake()
	var in []byte
	var got outcome
	for i, p := range pieces {
		in = append(in, p...)
		for got.Request == nil {
			n, reply, req, err := h.Next(in)
			got.Reply += string(reply)
			if errors.Is(err, ErrShort) {
				if n != 0 || len(reply) != 0 || req != nil {
					t.Fatalf("ErrShort with n = %d, reply %x, request %v", n, reply, req)
				}
				break
			}
			if n < 0 || n > len(in) {
				t.Fatalf("consumed %d of %d bytes", n, len(in))
			}
			in = in[n:]
			if err == ErrVerify {
				h.Verify(t.Context())
				continue
			}
			if err != nil {
				got.Err = err
				return got
			}
			if req != nil {
				r := *req
				got.Request = &r
				got.Rest = string(in) + strings.Join(pieces[i+1:], "")
				return got
			}
			if n == 0 && len(reply) == 0 {
				t.Fatal("neither progress nor an error")
			}
		}
	}
	got.Err = ErrShort
	return got
}

// splitBytes cuts into bytes, not runes.
func splitBytes(s string) []string {
	out := make([]string, len(s))
	for i := range len(s) {
		out[i] = s[i : i+1]
	}
	return out
}

func request(c Command, host string, addr netip.AddrPort) string {
	b := []byte{5, byte(c), 0}
	if host != "" {
		return string(appendName(b, host, addr.Port()))
	}
	return string(appendAddress(b, addr))
}

func auth(user, password string) string {
	return fmt.Sprintf("\x01%c%s%c%s", len(user), user, len(password), password)
}

var (
	v4   = netip.MustParseAddrPort("192.0.2.7:443")
	v6   = netip.MustParseAddrPort("[2001:db8::7]:443")
	open = NewServer(&Config{Bind: true, UDP: true})
)

const refused = "\x00\x01\x00\x00\x00\x00\x00\x00" // after version and code

func TestHandshake(t *testing.T) {
	closed := NewServer(&Config{Users: socks5.StaticCredentials{"alice": "secret", "": "nobody"}})
	port443 := netip.AddrPortFrom(netip.Addr{}, 443)
	long := strings.Repeat("a", 62) + strings.Repeat("."+strings.Repeat("b", 62), 3)
	hello := "\x05\x01\x00"
	tests := []struct {
		name   string
		server *Server
		in     string
		want   outcome
	}{
		{"IPv4", open, hello + request(Connect, "", v4), outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00"}},
		{"IPv6", open, hello + request(Connect, "", v6), outcome{Request: &Request{Command: Connect, Addr: v6}, Reply: "\x05\x00"}},
		{"name", open, hello + request(Connect, "www.example.com", v4), outcome{Request: &Request{Command: Connect, Host: "www.example.com", Addr: port443}, Reply: "\x05\x00"}},
		{"long name", open, hello + request(Connect, long, v4), outcome{Request: &Request{Command: Connect, Host: long, Addr: port443}, Reply: "\x05\x00"}},
		{"pipelined data", open, hello + request(Connect, "", v4) + "GET / HTTP/1.1", outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00", Rest: "GET / HTTP/1.1"}},
		{"many methods", open, "\x05\x03\x01\x02\x00" + request(Connect, "", v4), outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00"}},
		{"address as name", open, hello + request(Connect, "192.0.2.7", v4), outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00"}},
		{"IPv6 as name", open, hello + request(Connect, "2001:db8::7", v4), outcome{Request: &Request{Command: Connect, Addr: v6}, Reply: "\x05\x00"}},
		{"mapped IPv4", open, hello + "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07\x01\xbb", outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00"}},
		{"mapped IPv4 as name", open, hello + request(Connect, "::ffff:192.0.2.7", v4), outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00"}},
		{"bind", open, hello + request(Bind, "", netip.MustParseAddrPort("0.0.0.0:0")), outcome{Request: &Request{Command: Bind, Addr: netip.MustParseAddrPort("0.0.0.0:0")}, Reply: "\x05\x00"}},
		{"bind for a name", open, hello + request(Bind, "ftp.example.com", v4), outcome{Request: &Request{Command: Bind, Host: "ftp.example.com", Addr: port443}, Reply: "\x05\x00"}},
		{"associate", open, hello + request(Associate, "", netip.MustParseAddrPort("0.0.0.0:0")), outcome{Request: &Request{Command: Associate, Addr: netip.MustParseAddrPort("0.0.0.0:0")}, Reply: "\x05\x00"}},
		{"user", closed, "\x05\x02\x00\x02" + auth("alice", "secret") + request(Connect, "", v4) + "x", outcome{Request: &Request{Command: Connect, Addr: v4, User: "alice"}, Reply: "\x05\x02\x01\x00", Rest: "x"}},
		{"user with options", closed, "\x05\x01\x02" + auth("alice;scheduler=primary;a=b", "secret") + request(Connect, "", v4), outcome{Request: &Request{Command: Connect, Addr: v4, User: "alice", Options: "scheduler=primary;a=b"}, Reply: "\x05\x02\x01\x00"}},

		{"wrong password", closed, "\x05\x01\x02" + auth("alice", "Secret"), outcome{Err: ErrAuthentication, Reply: "\x05\x02\x01\x01"}},
		{"unknown user", closed, "\x05\x01\x02" + auth("bob", ""), outcome{Err: ErrAuthentication, Reply: "\x05\x02\x01\x01"}},
		{"control character in the user name", closed, "\x05\x01\x02" + auth("alice;\n", "secret"), outcome{Err: ErrAuthentication, Reply: "\x05\x02\x01\x01"}},
		{"authentication of another version", closed, "\x05\x01\x02\x05", outcome{Err: ErrMalformed, Reply: "\x05\x02\x01\x01"}},
		{"client without authentication", closed, "\x05\x01\x00", outcome{Err: ErrMethods, Reply: "\x05\xff"}},
		{"client with authentication only", open, "\x05\x01\x02", outcome{Err: ErrMethods, Reply: "\x05\xff"}},
		{"no methods", open, "\x05\x00", outcome{Err: ErrMethods, Reply: "\x05\xff"}},
		{"255 methods, none of ours", open, "\x05\xff" + strings.Repeat("\x80", 255), outcome{Err: ErrMethods, Reply: "\x05\xff"}},
		{"255 methods, ours last", open, "\x05\xff" + strings.Repeat("\x80", 254) + "\x00" + request(Connect, "", v4), outcome{Request: &Request{Command: Connect, Addr: v4}, Reply: "\x05\x00"}},

		{"bind not offered", NewServer(&Config{UDP: true}), hello + request(Bind, "", v4), outcome{Err: ErrCommand, Reply: "\x05\x00\x05\x07" + refused}},
		{"associate not offered", NewServer(&Config{Bind: true}), hello + request(Associate, "", v4), outcome{Err: ErrCommand, Reply: "\x05\x00\x05\x07" + refused}},
		{"unknown command", open, hello + request(9, "", v4), outcome{Err: ErrCommand, Reply: "\x05\x00\x05\x07" + refused}},
		{"unknown address type", open, hello + "\x05\x01\x00\x05", outcome{Err: ErrAddressType, Reply: "\x05\x00\x05\x08" + refused}},
		{"request of another version", open, hello + "\x04\x01\x00\x01", outcome{Err: ErrMalformed, Reply: "\x05\x00\x05\x01" + refused}},
		{"reserved byte", open, hello + "\x05\x01\x01\x01", outcome{Err: ErrMalformed, Reply: "\x05\x00\x05\x01" + refused}},
		{"port 0", open, hello + request(Connect, "", netip.MustParseAddrPort("192.0.2.7:0")), outcome{Err: ErrTarget, Reply: "\x05\x00\x05\x01" + refused}},
		{"unspecified address", open, hello + request(Connect, "", netip.MustParseAddrPort("[::]:80")), outcome{Err: ErrTarget, Reply: "\x05\x00\x05\x01" + refused}},
		{"empty name", open, hello + "\x05\x01\x00\x03\x00\x01\xbb", outcome{Err: ErrName, Reply: "\x05\x00\x05\x04" + refused}},
		{"255 control characters", open, hello + request(Connect, strings.Repeat("\x07", 255), v4), outcome{Err: ErrName, Reply: "\x05\x00\x05\x04" + refused}},
		{"newline in a name", open, hello + request(Connect, "a.example\n", v4), outcome{Err: ErrName, Reply: "\x05\x00\x05\x04" + refused}},
		{"zone", open, hello + request(Connect, "fe80::1%eth0", v4), outcome{Err: ErrAddressType, Reply: "\x05\x00\x05\x08" + refused}},
		{"associate with a name", open, hello + request(Associate, "me.example", v4), outcome{Err: ErrAddressType, Reply: "\x05\x00\x05\x08" + refused}},

		{"SOCKS4", open, "\x04\x01\x00\x50\xc0\x00\x02\x07user\x00", outcome{Err: ErrSOCKS4, Reply: socks4Rejected}},
		{"HTTP GET", open, "GET / HTTP/1.1\r\n\r\n", outcome{Err: ErrHTTP, Reply: httpRefused}},
		{"HTTP CONNECT", open, "CONNECT a:443 HTTP/1.1\r\n\r\n", outcome{Err: ErrHTTP, Reply: httpRefused}},
		{"almost HTTP", open, "GEX", outcome{Err: ErrVersion}},
		{"TLS", open, "\x16\x03\x01\x02\x00", outcome{Err: ErrTLS}},
		{"64 KiB of zeros", open, strings.Repeat("\x00", 64<<10), outcome{Err: ErrVersion}},
		{"garbage", open, "\xde\xad\xbe\xef", outcome{Err: ErrVersion}},
		{"half a greeting", open, "\x05\x02\x00", outcome{Err: ErrShort}},
		{"half a request", open, hello + "\x05\x01\x00\x01\x7f", outcome{Err: ErrShort, Reply: "\x05\x00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, pieces := range map[string][]string{"whole": {tt.in}, "bytewise": splitBytes(tt.in)} {
				got := serve(t, tt.server, pieces...)
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateErrors(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
					t.Errorf("%s: (-want +got)\n%s", how, diff)
				}
			}
		})
	}
}

func TestHandshakeIsOverAfterItsEnd(t *testing.T) {
	for name, in := range map[string]string{"request": "\x05\x01\x00" + request(Connect, "", v4), "error": "\x04"} {
		h := open.Handshake()
		if _, _, req, err := h.Next([]byte(in)); (req == nil) == (err == nil) {
			t.Fatalf("%s: %v, %v", name, req, err)
		}
		if n, reply, req, err := h.Next([]byte(in)); n != 0 || reply != nil || req != nil || err != ErrFinished {
			t.Errorf("%s: then %d, %x, %v, %v", name, n, reply, req, err)
		}
	}
}

func TestReplyDoesNotDisturbTheRequest(t *testing.T) {
	h := open.Handshake()
	_, _, req, err := h.Next([]byte("\x05\x01\x00" + request(Connect, "a.example", v4)))
	if err != nil {
		t.Fatal(err)
	}
	want := *req
	reply := h.Reply(v6, nil)
	if !bytes.Equal(reply, appendAddress([]byte{5, 0, 0}, v6)) {
		t.Errorf("reply %x", reply)
	}
	if *req != want {
		t.Errorf("request is %+v, was %+v", *req, want)
	}
}

func BenchmarkHandshake(b *testing.B) {
	users := NewServer(&Config{Users: socks5.StaticCredentials{"alice": "secret"}})
	for _, bb := range []struct {
		name   string
		server *Server
		in     string
	}{
		{"address", open, "\x05\x01\x00" + request(Connect, "", v4)},
		{"name", open, "\x05\x01\x00" + request(Connect, "www.example.com", v4)},
		{"name and user", users, "\x05\x01\x02" + auth("alice", "secret") + request(Connect, "www.example.com", v4)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := []byte(bb.in)
			b.ReportAllocs()
			for b.Loop() {
				h := bb.server.Handshake()
				if _, _, req, err := h.Next(in); req == nil || err != nil {
					b.Fatal(err)
				}
				h.Reply(v4, nil)
			}
		})
	}
}
