// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	socks5 "github.com/armon/go-socks5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// converse lets a client's handshake hear a server's bytes piece by piece. It
// returns what the client sent in all, what it left unread, and its error.
func converse(t testing.TB, h *ClientHandshake, pieces ...string) (sent, rest string, err error) {
	t.Helper()
	var in []byte
	step := func() (bool, error) {
		n, send, done, err := h.Next(in)
		if n < 0 || n > len(in) {
			t.Fatalf("consumed %d of %d bytes", n, len(in))
		}
		in = in[n:]
		sent += string(send)
		return done, err
	}
	if done, err := step(); done || err != nil {
		return sent, "", err
	}
	for i, p := range pieces {
		in = append(in, p...)
		for {
			done, err := step()
			if errors.Is(err, ErrShort) {
				break
			}
			if done || err != nil {
				return sent, string(in) + strings.Join(pieces[i+1:], ""), err
			}
		}
	}
	return sent, string(in), ErrShort
}

func TestClient(t *testing.T) {
	plain, alice := Client{}, Client{User: "alice", Password: "secret"}
	eager, eagerAlice := Client{Eager: true}, Client{User: "alice", Password: "secret", Eager: true}
	target := Target{Addr: v4}
	ask := request(Connect, "", v4)
	ok := string(AppendReply(nil, v6, nil))
	tests := []struct {
		name   string
		client Client
		target Target
		answer string
		sent   string
		rest   string
		err    error
	}{
		{"address", plain, target, "\x05\x00" + ok + "data", "\x05\x01\x00" + ask, "data", nil},
		{"name", plain, Target{Host: "www.example.com", Addr: v4}, "\x05\x00" + ok, "\x05\x01\x00" + request(Connect, "www.example.com", v4), "", nil},
		{"address as name", plain, Target{Host: "192.0.2.7", Addr: v4}, "\x05\x00" + ok, "\x05\x01\x00" + ask, "", nil},
		{"user", alice, target, "\x05\x02\x01\x00" + ok, "\x05\x02\x00\x02" + auth("alice", "secret") + ask, "", nil},
		{"user not asked for", alice, target, "\x05\x00" + ok, "\x05\x02\x00\x02" + ask, "", nil},
		{"eager", eager, target, "\x05\x00" + ok, "\x05\x01\x00" + ask, "", nil},
		{"eager with user", eagerAlice, target, "\x05\x02\x01\x00" + ok + "x", "\x05\x01\x02" + auth("alice", "secret") + ask, "x", nil},
		{"authentication status of version 5", alice, target, "\x05\x02\x05\x00" + ok, "\x05\x02\x00\x02" + auth("alice", "secret") + ask, "", nil},
		{"bound name", plain, target, "\x05\x00\x05\x00\x00\x03\x01a\x00\x09x", "\x05\x01\x00" + ask, "x", nil},

		{"refused", plain, target, "\x05\x00\x05\x05\x00", "\x05\x01\x00" + ask, "", unix.ECONNREFUSED},
		{"network", plain, target, "\x05\x00\x05\x03\x00", "\x05\x01\x00" + ask, "", unix.ENETUNREACH},
		{"host", plain, target, "\x05\x00\x05\x04\x00", "\x05\x01\x00" + ask, "", unix.EHOSTUNREACH},
		{"timeout", plain, target, "\x05\x00\x05\x06\x00", "\x05\x01\x00" + ask, "", unix.ETIMEDOUT},
		{"rules", plain, target, "\x05\x00\x05\x02\x00", "\x05\x01\x00" + ask, "", ErrNotAllowed},
		{"no common method", plain, target, "\x05\xff", "\x05\x01\x00", "", ErrMethods},
		{"method not offered", plain, target, "\x05\x02", "\x05\x01\x00", "", ErrMethods},
		{"method not offered eagerly", eagerAlice, target, "\x05\x00", "\x05\x01\x02" + auth("alice", "secret") + ask, "", ErrMethods},
		{"wrong password", alice, target, "\x05\x02\x01\x01", "\x05\x02\x00\x02" + auth("alice", "secret"), "", ErrAuthentication},
		{"HTTP server", plain, target, "HTTP/1.1 400 Bad Request\r\n", "\x05\x01\x00", "HTTP/1.1 400 Bad Request\r\n", ErrVersion},
		{"reply of another version", plain, target, "\x05\x00\x04", "\x05\x01\x00" + ask, "\x04", ErrVersion},
		{"bad authentication version", alice, target, "\x05\x02\x00", "\x05\x02\x00\x02" + auth("alice", "secret"), "\x00", ErrMalformed},
		{"bad address type", plain, target, "\x05\x00\x05\x00\x00\x09", "\x05\x01\x00" + ask, "\x05\x00\x00\x09", ErrMalformed},
		{"half a reply", plain, target, "\x05\x00" + ok[:8], "\x05\x01\x00" + ask, ok[:8], ErrShort},
		{"long user", Client{User: strings.Repeat("u", 256)}, target, "", "", "", ErrAuthentication},
		{"bad name", plain, Target{Host: "a b", Addr: v4}, "", "", "", ErrName},
		{"no target", plain, Target{}, "", "", "", ErrTarget},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, pieces := range map[string][]string{"whole": {tt.answer}, "bytewise": splitBytes(tt.answer)} {
				h := tt.client.Handshake(tt.target)
				sent, rest, err := converse(t, h, pieces...)
				if sent != tt.sent || !errors.Is(err, tt.err) {
					t.Errorf("%s: sent %x, want %x; error %v, want %v", how, sent, tt.sent, err, tt.err)
				}
				// With an error the moment of it depends on the pieces.
				if tt.err == nil && rest != tt.rest {
					t.Errorf("%s: left %q, want %q", how, rest, tt.rest)
				}
				if tt.err == nil && tt.name != "bound name" && h.Bound() != v6 {
					t.Errorf("%s: bound to %s", how, h.Bound())
				}
			}
		})
	}
}

func TestClientTellsRefusalsFromTroubleWithTheServer(t *testing.T) {
	var refusal *ReplyError
	c := Client{}
	if _, _, err := converse(t, c.Handshake(Target{Addr: v4}), "\x05\x00\x05\x01\x00"); !errors.As(err, &refusal) || refusal.Code != GeneralFailure {
		t.Errorf("refusal: %v", err)
	}
	h := c.Handshake(Target{Addr: v4})
	if _, _, err := converse(t, h, "\x05\xff"); errors.As(err, &refusal) {
		t.Errorf("no method: %v", err)
	}
	if _, _, _, err := h.Next(nil); err != ErrFinished {
		t.Errorf("after the end: %v", err)
	}
}

// TestClientAndServerUnderstandEachOther runs the two handshakes against each
// other with any arguments and any cuts.
func TestClientAndServerUnderstandEachOther(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		client := Client{Eager: rapid.Bool().Draw(rt, "eager")}
		var config Config
		if rapid.Bool().Draw(rt, "authenticated") {
			client.User = rapid.StringMatching(`[ -:<-~]{1,100}`).Draw(rt, "user")
			client.Password = string(rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(rt, "password"))
			config.Users = socks5.StaticCredentials{client.User: client.Password}
		}
		want := Request{Command: Connect, User: client.User}
		port := rapid.Uint16Range(1, 65535).Draw(rt, "port")
		target := Target{Host: rapid.StringMatching(`([a-z][a-z0-9-]{0,20}\.){0,9}[a-z]{2,9}`).Draw(rt, "host"), Addr: netip.AddrPortFrom(netip.Addr{}, port)}
		if rapid.Bool().Draw(rt, "address") {
			ip := rapid.SampledFrom([]netip.Addr{v4.Addr(), v6.Addr()}).Draw(rt, "ip")
			target = Target{Addr: netip.AddrPortFrom(ip, port)}
		}
		want.Host, want.Addr = target.Host, target.Addr

		server := NewServer(&config).Handshake()
		peer := client.Handshake(target)
		var toServer, toClient []byte // on the way, not arrived
		var atServer, atClient []byte // arrived, not consumed
		arrive := func(from, to *[]byte) {
			if len(*from) == 0 {
				return
			}
			k := rapid.IntRange(1, len(*from)).Draw(rt, "cut")
			*to = append(*to, (*from)[:k]...)
			*from = (*from)[k:]
		}
		var got *Request
		for range 2000 {
			n, send, done, err := peer.Next(atClient)
			if err != nil && err != ErrShort {
				rt.Fatalf("client: %v", err)
			}
			atClient, toServer = atClient[n:], append(toServer, send...)
			if done {
				break
			}
			arrive(&toServer, &atServer)
			if got == nil {
				n, reply, req, err := server.Next(atServer)
				if err != nil && err != ErrShort {
					rt.Fatalf("server: %v", err)
				}
				atServer, toClient = atServer[n:], append(toClient, reply...)
				if req != nil {
					got = req
					toClient = append(toClient, server.Reply(v6, nil)...)
				}
			}
			arrive(&toClient, &atClient)
		}
		if got == nil || peer.Bound() != v6 {
			rt.Fatalf("not done: request %v, bound %s", got, peer.Bound())
		}
		if diff := cmp.Diff(want, *got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
		if len(atServer)+len(toServer)+len(atClient)+len(toClient) != 0 {
			rt.Fatal("bytes are left over")
		}
	})
}

func FuzzClient(f *testing.F) {
	ok := string(AppendReply(nil, v4, nil))
	f.Add([]byte("\x05\x00"+ok+"data"), uint8(0))
	f.Add([]byte("\x05\x02\x01\x00"+ok), uint8(1))
	f.Add([]byte("\x05\x00"+string(AppendReply(nil, v6, nil))), uint8(2))
	f.Add([]byte("\x05\x02\x01\x00\x05\x05\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, kind uint8) {
		c := Client{Eager: kind&2 != 0}
		if kind&1 != 0 {
			c.User, c.Password = "alice", "secret"
		}
		whole, rest, err := converse(t, c.Handshake(Target{Addr: v4}), string(in))
		cut, rest2, err2 := converse(t, c.Handshake(Target{Addr: v4}), splitBytes(string(in))...)
		if (err == nil) != (err2 == nil) || err == nil && (whole != cut || rest != rest2) {
			t.Errorf("whole: %x, %x, %v; bytewise: %x, %x, %v", whole, rest, err, cut, rest2, err2)
		}
	})
}
