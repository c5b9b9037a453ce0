// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	socks5 "github.com/armon/go-socks5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// servers are the kinds of server that properties are checked with.
func servers() []*Server {
	return []*Server{
		NewServer(&Config{}),
		NewServer(&Config{Bind: true, UDP: true}),
		NewServer(&Config{Users: socks5.StaticCredentials{"alice": "secret"}, Bind: true}),
	}
}

// same compares outcomes; of errors the text.
func same(a, b outcome) string {
	return cmp.Diff(a, b, cmpopts.EquateComparable(netip.AddrPort{}), cmp.Comparer(func(a, b error) bool {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}))
}

// check checks what holds for whatever a client sends.
func check(t testing.TB, in []byte, got outcome) {
	t.Helper()
	switch {
	case (got.Request == nil) == (got.Err == nil):
		t.Fatalf("request %v and error %v", got.Request, got.Err)
	case errors.Is(got.Err, ErrShort) && len(in) > 262+513+257:
		t.Fatalf("waits for more than %d bytes", len(in))
	case got.Request == nil:
		return
	}
	r := got.Request
	if !bytes.HasSuffix(in, []byte(got.Rest)) {
		t.Fatalf("rest %x is not the end of %x", got.Rest, in)
	}
	if (r.Host == "") != r.Addr.Addr().IsValid() {
		t.Fatalf("host %q with address %s", r.Host, r.Addr)
	}
	if r.Host != "" {
		if ip, err := ParseName(r.Host); err != nil || ip.IsValid() {
			t.Fatalf("host %q: %s, %v", r.Host, ip, err)
		}
	}
	if r.Addr.Addr().Is4In6() || r.Addr.Addr().Zone() != "" {
		t.Fatalf("address %s", r.Addr)
	}
	if r.Command == Connect && r.Addr.Port() == 0 {
		t.Fatal("port 0")
	}
}

func FuzzHandshake(f *testing.F) {
	for _, command := range []Command{Connect, Bind, Associate} {
		f.Add([]byte("\x05\x01\x00"+request(command, "", v4)+"data"), uint8(1))
		f.Add([]byte("\x05\x01\x02"+auth("alice;a=b", "secret")+request(command, "", v6)), uint8(2))
		f.Add([]byte("\x05\x02\x00\x02"+request(command, "www.example.com", v4)), uint8(0))
	}
	f.Add([]byte("\x05\x01\x02"+auth("alice", "wrong")), uint8(2))
	f.Add([]byte("\x04\x01\x00\x50\xc0\x00\x02\x07user\x00"), uint8(0))
	f.Add([]byte("CONNECT a:443 HTTP/1.1\r\n\r\n"), uint8(0))
	f.Add(make([]byte, 600), uint8(0))
	kinds := servers()
	f.Fuzz(func(t *testing.T, in []byte, kind uint8) {
		s := kinds[int(kind)%len(kinds)]
		whole := serve(t, s, string(in))
		check(t, in, whole)
		if len(in) > 2000 {
			in = in[:2000] // all that matters; byte by byte takes its time
			whole = serve(t, s, string(in))
		}
		if diff := same(whole, serve(t, s, splitBytes(string(in))...)); diff != "" {
			t.Errorf("(-whole +bytewise)\n%s", diff)
		}
	})
}

// TestCutsDoNotMatter feeds sound and unsound handshakes in random pieces.
func TestCutsDoNotMatter(t *testing.T) {
	kinds := servers()
	rapid.Check(t, func(rt *rapid.T) {
		greetings := rapid.SampledFrom([]string{"\x05\x01\x00", "\x05\x02\x00\x02", "\x05\x01\x02", "\x05\x00", "GET /", "\x04"})
		auths := rapid.SampledFrom([]string{"", auth("alice", "secret"), auth("alice;x", "secret"), auth("bob", "x")})
		requests := rapid.SampledFrom([]string{
			request(Connect, "", v4), request(Connect, "", v6), request(Connect, "www.example.com", v4),
			request(Bind, "", v4), request(Associate, "", v4), request(Connect, "a b", v4), "\x05\x01\x00\x07", "\x05\x01\x09\x01",
		})
		in := greetings.Draw(rt, "greeting") + auths.Draw(rt, "auth") + requests.Draw(rt, "request") +
			string(rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(rt, "data"))
		s := kinds[rapid.IntRange(0, len(kinds)-1).Draw(rt, "server")]
		whole := serve(t, s, in)
		check(t, []byte(in), whole)
		var pieces []string
		for rest := in; rest != ""; {
			k := rapid.IntRange(1, len(rest)).Draw(rt, "cut")
			pieces, rest = append(pieces, rest[:k]), rest[k:]
		}
		if diff := same(whole, serve(t, s, pieces...)); diff != "" {
			rt.Fatalf("(-whole +pieces)\n%s", diff)
		}
	})
}
