// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const secret = "a secret of more than 16 bytes"

func TestNewCookieJarRefuses(t *testing.T) {
	if _, err := NewCookieJar([]byte("short"), 0); err == nil {
		t.Error("a secret of 5 bytes was taken")
	}
	if _, err := NewCookieJar(nil, time.Millisecond); err == nil {
		t.Error("a key that lives for a millisecond was taken")
	}
	if _, err := NewCookieJar(nil, -time.Hour); err == nil {
		t.Error("a negative rotation was taken")
	}
}

func TestCookieLifetime(t *testing.T) {
	j := mustJar(t, secret, time.Hour)
	cookie := j.Issue(client4, noon)
	if len(cookie) != CookieLen {
		t.Errorf("cookie of %d bytes", len(cookie))
	}
	for _, test := range []struct {
		after time.Duration
		valid bool
	}{
		{0, true},
		{time.Hour, true}, // the key before
		{2*time.Hour - time.Nanosecond, true},
		{2 * time.Hour, false},
		{48 * time.Hour, false},
		{-time.Nanosecond, false}, // a key that is not in use yet
	} {
		if got := j.Valid(client4, cookie, noon.Add(test.after)); got != test.valid {
			t.Errorf("%s later: valid %v, want %v", test.after, got, test.valid)
		}
	}
}

func TestCookieBelongsToAddress(t *testing.T) {
	j := mustJar(t, secret, 0)
	cookie := j.Issue(client4, noon)
	if !j.Valid(netip.AddrFrom16(client4.As16()), cookie, noon) {
		t.Error("the same client on an IPv6 listener is another one")
	}
	if j.Valid(client4.Next(), cookie, noon) || j.Valid(client6, cookie, noon) {
		t.Error("another address has the same cookie")
	}
}

func TestCookieBelongsToSecret(t *testing.T) {
	cookie := mustJar(t, secret, 0).Issue(client6, noon)
	if !mustJar(t, secret, 0).Valid(client6, cookie, noon) {
		t.Error("a converter with the same secret does not know it")
	}
	if mustJar(t, secret+"!", 0).Valid(client6, cookie, noon) {
		t.Error("another secret made the same cookie")
	}
	drawn := mustJar(t, "", 0).Issue(client6, noon)
	if !mustJar(t, "", 0).Valid(client6, drawn, noon) {
		t.Error("a jar that replaces another does not know its cookies")
	}
	if mustJar(t, string(make([]byte, len(drawnSecret()))), 0).Valid(client6, drawn, noon) {
		t.Error("the secret that was drawn is none")
	}
}

func TestJarKeepsItsSecret(t *testing.T) {
	given := []byte(secret)
	j, err := NewCookieJar(given, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := j.Issue(client4, noon)
	clear(given)
	if !bytes.Equal(before, j.Issue(client4, noon)) {
		t.Error("the secret can be changed from outside")
	}
}

// No other cookie than the issued one is valid.
func TestCookieIsAllOrNothing(t *testing.T) {
	j := mustJar(t, secret, 0)
	rapid.Check(t, func(t *rapid.T) {
		addr := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr"))).Unmap()
		cookie := j.Issue(addr, noon)
		if !j.Valid(addr, cookie, noon) {
			t.Fatal("its own cookie is not valid")
		}
		i := rapid.IntRange(0, len(cookie)-1).Draw(t, "at")
		bad := bytes.Clone(cookie)
		bad[i] ^= rapid.ByteMin(1).Draw(t, "bits")
		for _, b := range [][]byte{bad, cookie[:i], append(bytes.Clone(cookie), 0)} {
			if j.Valid(addr, b, noon) {
				t.Fatalf("% x is valid beside % x", b, cookie)
			}
		}
	})
}
