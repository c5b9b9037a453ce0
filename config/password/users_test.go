// SPDX-License-Identifier: Apache-2.0

package password

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// cheap is a hash that costs next to nothing.
func cheap(password string) Hash {
	h := Hash{memory: 8, passes: 1, lanes: 1, salt: []byte("somesalt")}
	h.key = h.derive(password, minKey)
	return h
}

func someUsers() *Users {
	return NewUsers(map[string]string{"alice": "wonderland"}, map[string]Hash{"bob": cheap("builder")})
}

func TestPasswordsInClearAreKnownAtOnce(t *testing.T) {
	u := someUsers()
	for password, want := range map[string]bool{"wonderland": true, "": false, "wonder": false} {
		if right, known := u.Known("alice", password); right != want || !known {
			t.Errorf("%q: right %t, known %t", password, right, known)
		}
	}
}

func TestHashesAreKnownOnceVerified(t *testing.T) {
	u := someUsers()
	for _, c := range []struct {
		name, password string
		right, kept    bool
	}{
		{"bob", "builder", true, true},
		{"bob", "", false, true},
		{"bob", "wrecker", false, true},
		{"carol", "builder", false, false},
		{"carol", "", false, false},
	} {
		if right, known := u.Known(c.name, c.password); right || known {
			t.Errorf("%s, %q: right %t, known %t before it was verified", c.name, c.password, right, known)
		}
		if right, err := u.Verify(t.Context(), c.name, c.password); right != c.right || err != nil {
			t.Errorf("%s, %q: verified as %t, %v", c.name, c.password, right, err)
		}
		if right, known := u.Known(c.name, c.password); right != c.right || known != c.kept {
			t.Errorf("%s, %q: right %t, known %t after it was verified", c.name, c.password, right, known)
		}
	}
	if right, known := u.Known("bob", "builder"); !right || !known {
		t.Error("wrong passwords made the right one forgotten")
	}
	if _, known := u.Known("bob", ""); known {
		t.Error("more than one wrong password is remembered")
	}
}

func TestUnknownUsersAreKnownToBeWrongWhereNothingIsHashed(t *testing.T) {
	u := NewUsers(map[string]string{"alice": "wonderland"}, nil)
	for _, password := range []string{"", "wonderland"} {
		if right, known := u.Known("bob", password); right || !known {
			t.Errorf("%q: right %t, known %t", password, right, known)
		}
	}
	if NewUsers(nil, nil).Valid("", "") {
		t.Error("nobody is somebody")
	}
}

func TestVerifyWaitsForItsTurn(t *testing.T) {
	u := someUsers()
	for range cap(u.slots) {
		u.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if right, err := u.Verify(ctx, "bob", "builder"); right || !errors.Is(err, context.Canceled) {
		t.Errorf("right %t, error %v", right, err)
	}
	for range cap(u.slots) {
		<-u.slots
	}
	if !u.Valid("bob", "builder") {
		t.Error("the turn never comes")
	}
}

func TestUsersFromManyGoroutines(t *testing.T) {
	u := someUsers()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if !u.Valid("bob", "builder") || u.Valid("bob", "wrecker") || !u.Valid("alice", "wonderland") {
				t.Error("an answer is wrong")
			}
		})
	}
	all.Wait()
}
