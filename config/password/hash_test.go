// SPDX-License-Identifier: Apache-2.0

package password

import (
	"errors"
	"strings"
	"testing"
)

// A vector of the test suite of the reference implementation (P-H-C/phc-winner-
// argon2, src/test.c): password "password", salt "somesalt".
const reference = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

func TestMatchesTheReferenceImplementation(t *testing.T) {
	h, err := Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches("password") {
		t.Error("the right password does not match")
	}
	if h.Matches("passwort") {
		t.Error("a wrong password matches")
	}
	if got := h.String(); got != reference {
		t.Errorf("prints as %s", got)
	}
}

func TestNew(t *testing.T) {
	a, b := New("geheim"), New("geheim")
	if a.String() == b.String() {
		t.Error("the same salt twice")
	}
	again, err := Parse(a.String())
	if err != nil {
		t.Fatal(err)
	}
	if !again.Matches("geheim") || again.Matches("") {
		t.Errorf("%v does not tell passwords apart", again)
	}
	if (Hash{}).Matches("") {
		t.Error("the zero hash matches")
	}
}

func TestParseRefuses(t *testing.T) {
	const salt, key = "c2FsdHNhbHQ", "MDEyMzQ1Njc4OWFiY2RlZg"
	for _, c := range []struct{ in, want string }{
		{"", "want $argon2id"},
		{"secret", "want $argon2id"},
		{"$2y$10$abcdefghijklmnopqrstuv", "want $argon2id"},
		{"$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + key, "want $argon2id"},
		{"$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + key, "want v=19"},
		{"$argon2id$v=19$m=64,t=1$" + salt + "$" + key, "want m=…,t=…,p=…"},
		{"$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + key, "want m=8 to m=1048576"},
		{"$argon2id$v=19$m=8,t=1,p=2$" + salt + "$" + key, "want m=16"},
		{"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key, "want t=1 to t=64"},
		{"$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key, "want p=1 to p=16"},
		{"$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + key, "want t=1"},
		{"$argon2id$v=19$m=64,t=1,p=1$c2E$" + key, "salt: want 8 to 64 bytes"},
		{"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$", "key: want 16 to 64 bytes"},
		{"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + key + "==", "key: want 16 to 64 bytes"},
	} {
		h, err := Parse(c.in)
		if !errors.Is(err, ErrHash) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want it to say %q", c.in, h, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(reference)
	f.Add(cheap("geheim").String())
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(h.String())
		if err != nil || again.String() != h.String() {
			t.Fatalf("%q: read as %v, which reads as %v, %v", s, h, again, err)
		}
	})
}
