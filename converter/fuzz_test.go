// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tandem-gateway/tandem/converter/wire"
)

func FuzzServerRead(f *testing.F) {
	jar := mustJar(f, secret, 0)
	for _, v := range vectors {
		f.Add(unhex(f, v), false)
		f.Add(append(unhex(f, v), "data"...), true)
	}
	for _, v := range answers {
		f.Add(unhex(f, v), false)
	}
	m := wire.Message{Info: true, Connect: connectTo(server6, []wire.TCPOption{{Kind: 30}}), Cookie: jar.Issue(client4, noon)}
	whole, err := m.AppendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, true)
	f.Add(message(f, connect4+"e0 03 00 00 01 01 00 00 02 00 0f a0"), false)
	f.Fuzz(func(t *testing.T, in []byte, cookies bool) {
		s := testServer(nil)
		if cookies {
			s = testServer(jar)
		}
		s.choices = len(in)%2 == 0
		before := bytes.Clone(in)
		req, n, err := s.Read(client4, in, noon)
		if !bytes.Equal(before, in) {
			t.Fatal("the input was changed")
		}
		var r *Refusal
		switch {
		case err == nil:
			checkRequest(t, s, in, req, n)
		case err == wire.ErrShort:
			if n != 0 || len(in) >= wire.MaxLen {
				t.Fatalf("%d bytes are short", len(in))
			}
		case errors.As(err, &r):
			checkRefusal(t, in, r)
		default:
			t.Fatalf("unexpected error %v", err)
		}
	})
}

func checkRequest(t *testing.T, s *Server, in []byte, req Request, n int) {
	t.Helper()
	if n < wire.HeaderLen || n > len(in) {
		t.Fatalf("consumed %d of %d", n, len(in))
	}
	if req.Info {
		if req.Target.IsValid() || parse(t, req.Answer).Supported == nil {
			t.Fatalf("answered % x to info alone", req.Answer)
		}
		return
	}
	if err := checkTarget(req.Target, false); err != nil {
		t.Fatalf("accepted: %v", err)
	}
	if m := parse(t, s.Success(nil, &req, nil, req.Choices.Set)); m.Error != nil || (m.Supported != nil) != req.Supported {
		t.Fatalf("success reads %+v", m)
	}
}

// checkRefusal sees that the answer says why, and amplifies nothing: a cookie
// aside, it is not longer than what provoked it by more than a TLV's header.
func checkRefusal(t *testing.T, in []byte, r *Refusal) {
	t.Helper()
	if len(r.Answer) == 0 {
		return
	}
	if m := parse(t, r.Answer); m.Error == nil || m.Error.Code != r.Code {
		t.Fatalf("answered % x for %v", r.Answer, r)
	}
	limit := max(len(in), wire.HeaderLen) + 4
	if r.Code == wire.MissingCookie {
		limit += CookieLen
	}
	if len(r.Answer) > limit {
		t.Fatalf("%d bytes answer %d", len(r.Answer), len(in))
	}
}

// FuzzExchange plays a converter that says anything, as often as it is asked.
func FuzzExchange(f *testing.F) {
	for _, a := range answers {
		for _, b := range answers {
			f.Add(unhex(f, a), unhex(f, b), true)
		}
	}
	for _, v := range vectors {
		f.Add(unhex(f, v), []byte{}, false)
	}
	f.Fuzz(func(t *testing.T, first, later []byte, connect bool) {
		d := NewDialer(DialerConfig{Servers: 2})
		x := d.Inform()
		if connect {
			x = mustConnect(t, d, server4, Extras{
				Options: []wire.TCPOption{{Kind: 30}, {Kind: 28, Value: []byte{0, 1}}},
				Private: []wire.Private{{Type: 224, Body: make([]byte, 30)}},
			})
		}
		in := first
		for attempt := 1; ; attempt++ {
			request := x.AppendRequest(nil, noon)
			if m := parse(t, request); (m.Connect != nil) != connect {
				t.Fatalf("asked % x", request)
			}
			before := bytes.Clone(in)
			a, n, err := x.Read(in, noon)
			if !bytes.Equal(before, in) {
				t.Fatal("the input was changed")
			}
			if err != nil && n != 0 || n > len(in) || err == nil && n < wire.HeaderLen {
				t.Fatalf("consumed %d of %d: %v", n, len(in), err)
			}
			if a.ServerMPTCP && connect && !d.SpeaksMPTCP(server4, noon) {
				t.Fatal("a server with MPTCP was not remembered")
			}
			if !errors.Is(err, ErrRetry) {
				checkVerdict(t, in, err)
				return
			}
			if attempt == MaxAttempts {
				t.Fatal("no end of attempts")
			}
			in = later
		}
	})
}

// checkVerdict sees that every error is one that callers can tell.
func checkVerdict(t *testing.T, in []byte, err error) {
	t.Helper()
	var answered *Error
	switch {
	case err == nil, errors.Is(err, ErrIncompatible), errors.Is(err, ErrNotAuthorized):
	case err == wire.ErrShort:
		if len(in) >= wire.MaxLen {
			t.Fatalf("%d bytes are short", len(in))
		}
	case errors.As(err, &answered):
	default:
		t.Fatalf("unexpected error %v", err)
	}
}
