// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/converter/wire"
)

var leg = wire.Redundancy{ID: [16]byte{1, 2, 3, 15: 16}}

func TestLeg(t *testing.T) {
	jar, err := NewCookieJar(make([]byte, 32), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Redundancy: true, Cookies: jar})
	x := NewDialer(DialerConfig{}).Join(leg)
	// The first attempt brings a cookie, the second one shows it.
	_, _, err = s.Read(client4, x.AppendRequest(nil, noon), noon)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != wire.MissingCookie {
		t.Fatal(err)
	}
	if _, _, err := x.Read(refusal.Answer, noon); !errors.Is(err, ErrRetry) {
		t.Fatal(err)
	}
	in := append(x.AppendRequest(nil, noon), "frames"...)
	req, n, err := s.Read(client4, in, noon)
	if err != nil || req.Leg == nil || *req.Leg != leg || req.Info || string(in[n:]) != "frames" {
		t.Fatalf("%+v, %d, %v", req, n, err)
	}
	req.Leg.Instance = 7
	answer, n, err := x.Read(append(s.Accept(nil, req.Leg), "frames"...), noon)
	if err != nil || n != 32 {
		t.Fatalf("%+v, %d, %v", answer, n, err)
	}
	if instance, err := answer.Accepted(leg.ID); instance != 7 || err != nil {
		t.Fatal(instance, err)
	}
	if _, err := answer.Accepted([16]byte{}); !errors.Is(err, ErrIncompatible) {
		t.Fatal(err)
	}
	// What the stream carries needs no cookie, and is not a leg itself.
	inner := s.Trusting()
	if _, _, err := inner.Read(client6, unhex(t, vectors["connect IPv4"]), noon); err != nil {
		t.Fatal(err)
	}
	if _, _, err := inner.Read(client4, in, noon); !errors.As(err, &refusal) || refusal.Code != wire.UnsupportedMessage {
		t.Fatal(err)
	}
}

func TestLegRefused(t *testing.T) {
	x := NewDialer(DialerConfig{}).Join(leg)
	request := x.AppendRequest(nil, noon)
	_, _, err := NewServer(ServerConfig{}).Read(client4, request, noon)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != wire.UnsupportedMessage {
		t.Fatal(err)
	}
	var answered *Error
	if _, _, err := x.Read(refusal.Answer, noon); !errors.As(err, &answered) || errors.Is(err, ErrRetry) || answered.Code != wire.UnsupportedMessage {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Redundancy: true})
	for name, m := range map[string]wire.Message{
		"with info":    {Info: true, Private: []wire.Private{leg.Private()}},
		"with connect": {Connect: connectTo(server4, nil), Private: []wire.Private{leg.Private()}},
		"short":        {Private: []wire.Private{{Type: wire.TypeRedundancy, Body: []byte{1, 0}}}},
	} {
		in, err := m.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Read(client4, in, noon); !errors.As(err, &refusal) || refusal.Code != wire.MalformedMessage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
