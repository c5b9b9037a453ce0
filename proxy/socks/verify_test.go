// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"context"
	"errors"
	"testing"
)

// slowStore knows nothing at once, and then that a password is the name of its
// user.
type slowStore struct{ known bool }

func (s slowStore) Valid(user, password string) bool { return user == password }

func (s slowStore) Known(user, password string) (right, known bool) {
	return s.known && user == password, s.known
}

func (s slowStore) Verify(ctx context.Context, user, password string) (bool, error) {
	return user == password, ctx.Err()
}

const (
	greetingWithPassword = "\x05\x01\x02"
	rightPassword        = "\x01\x05alice\x05alice"
	wrongPassword        = "\x01\x05alice\x03bob"
	connectRequest       = "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"
)

func TestVerify(t *testing.T) {
	for _, store := range []slowStore{{known: false}, {known: true}} {
		s := NewServer(&Config{Users: store})
		for _, pieces := range [][]string{
			{greetingWithPassword + rightPassword + connectRequest + "data"},
			{greetingWithPassword, rightPassword, connectRequest, "data"},
		} {
			got := serve(t, s, pieces...)
			if got.Err != nil || got.Request == nil || got.Request.User != "alice" || got.Reply != "\x05\x02\x01\x00" || got.Rest != "data" {
				t.Errorf("known %t, right password: %+v, %+v, reply %x", store.known, got, got.Request, got.Reply)
			}
		}
		got := serve(t, s, greetingWithPassword+wrongPassword+connectRequest)
		if !errors.Is(got.Err, ErrAuthentication) || got.Request != nil || got.Reply != "\x05\x02\x01\x01" {
			t.Errorf("known %t, wrong password: %+v", store.known, got)
		}
	}
}

func TestVerifyNotPossible(t *testing.T) {
	h := NewServer(&Config{Users: slowStore{}}).Handshake()
	n, reply, req, err := h.Next([]byte(greetingWithPassword + rightPassword))
	if n != len(greetingWithPassword+rightPassword) || string(reply) != "\x05\x02" || req != nil || err != ErrVerify {
		t.Fatalf("%d, %x, %v, %v", n, reply, req, err)
	}
	// More bytes do not help.
	if n, reply, _, err := h.Next([]byte(connectRequest)); n != 0 || len(reply) != 0 || err != ErrVerify {
		t.Fatalf("%d, %x, %v", n, reply, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Verify(ctx)
	if n, reply, _, err := h.Next([]byte(connectRequest)); n != 0 || string(reply) != "\x01\x01" || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %x, %v", n, reply, err)
	}
}
