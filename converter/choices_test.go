// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/converter/wire"
	"github.com/tandem-gateway/tandem/options"
)

func set(t testing.TB, text string) options.Set {
	t.Helper()
	s, err := options.ParseSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChoicesTravel(t *testing.T) {
	d := NewDialer(DialerConfig{})
	asked := set(t, "scheduler=primary;subflow-rate-limit=40Mbit")
	x := mustConnect(t, d, server4, Extras{Choices: asked})
	in := x.AppendRequest(nil, noon)
	diff(t, "request", message(t, connect4+"e0 03 00 00 01 01 00 00 02 00 9c 40"), in)

	s := NewServer(ServerConfig{Choices: true})
	req, _, err := s.Read(client4, in, noon)
	if err != nil || !req.Chooses || req.Choices.Set != asked {
		t.Fatalf("%+v, %v", req, err)
	}
	// An option that is granted though nobody asked for it is not taken.
	granted := set(t, "scheduler=primary;subflow-rate-limit=20Mbit;user-timeout=1m")
	out := s.Success(nil, &req, nil, granted)
	diff(t, "answer", message(t, "e0 04 00 00 81 01 00 00 82 00 4e 20 87 00 00 3c"), out)

	a, n, err := x.Read(out, noon)
	if want := set(t, "scheduler=primary;subflow-rate-limit=20Mbit"); err != nil || n != len(out) || !a.Chosen || a.Granted != want {
		t.Fatalf("%q, chosen %t, %v", a.Granted, a.Chosen, err)
	}
}

func TestNothingGrantedIsAnswered(t *testing.T) {
	x := mustConnect(t, NewDialer(DialerConfig{}), server4, Extras{Choices: set(t, "scheduler=primary")})
	s := NewServer(ServerConfig{Choices: true})
	req, _, err := s.Read(client4, x.AppendRequest(nil, noon), noon)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Success(nil, &req, nil, options.Set{})
	diff(t, "answer", message(t, "e0 01 00 00"), out)
	if a, _, err := x.Read(out, noon); err != nil || !a.Chosen || !a.Granted.Empty() {
		t.Errorf("%+v, %v", a, err)
	}
}

// Foreign converters refuse a TLV that they do not know: the request goes
// without it, and so do the next ones for some time.
func TestForeignConverterIsAskedOnce(t *testing.T) {
	d := NewDialer(DialerConfig{})
	foreign := NewServer(ServerConfig{})
	for i, want := range []int{2, 1} {
		x := mustConnect(t, d, server4, Extras{Choices: set(t, "scheduler=primary")})
		a, attempts, err := converse(t, x, foreign, client4, noon)
		if err != nil || attempts != want || a.Chosen {
			t.Errorf("connection %d: %d attempts, chosen %t, %v; want %d", i, attempts, a.Chosen, err, want)
		}
	}
	x := mustConnect(t, d, server4, Extras{Choices: set(t, "scheduler=primary")})
	if a, attempts, err := converse(t, x, NewServer(ServerConfig{Choices: true}), client4, noon.Add(refusedFor)); err != nil || attempts != 1 || !a.Chosen {
		t.Errorf("an hour later: %d attempts, %+v, %v", attempts, a, err)
	}
}

func TestBadChoices(t *testing.T) {
	flood := strings.Builder{}
	flood.WriteString("e0 22 00 00")
	for i := range 33 {
		flood.WriteString(" ")
		flood.WriteString(string("0123456789abcdef"[(i+1)/16]) + string("0123456789abcdef"[(i+1)%16]) + " 00 00 00")
	}
	for name, tlv := range map[string]string{
		"twice":  "e0 03 00 00 01 01 00 00 01 02 00 00",
		"echo":   "e0 02 00 00 81 01 00 00",
		"type 0": "e0 02 00 00 00 01 00 00",
		"flood":  flood.String(),
	} {
		s := NewServer(ServerConfig{Choices: true})
		_, _, err := s.Read(client4, message(t, connect4+tlv), noon)
		var r *Refusal
		if !errors.As(err, &r) || r.Code != wire.MalformedMessage || !errors.Is(err, options.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := NewServer(ServerConfig{Choices: true})
	req, _, err := s.Read(client4, message(t, connect4+"e0 03 00 00 63 00 00 00 01 7f 00 00"), noon)
	if err != nil || len(req.Choices.Bad) != 2 {
		t.Errorf("unknown option and scheduler: %+v, %v", req.Choices, err)
	}
	// An answer that is no such thing spoils nothing.
	x := mustConnect(t, NewDialer(DialerConfig{}), server4, Extras{Choices: set(t, "scheduler=primary")})
	x.AppendRequest(nil, noon)
	if a, _, err := x.Read(message(t, "e0 02 00 00 01 01 00 00"), noon); err != nil || a.Chosen {
		t.Errorf("answer without echoes: %+v, %v", a, err)
	}
}
