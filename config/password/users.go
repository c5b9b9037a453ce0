// SPDX-License-Identifier: Apache-2.0

package password

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"runtime"
	"sync"
)

// Users knows the passwords of users, some of them by their hashes only. It may
// be used from any goroutine.
//
// Hashing takes tens of milliseconds and as many MiB, on purpose. So what it has
// found out is remembered, as a MAC under a key that never leaves the process:
// the right password of a user from the first time that it was given, and the
// last wrong one. An event loop asks Known, which answers at once, and has
// another goroutine Verify what is not known.
type Users struct {
	key   [sha256.Size]byte
	users map[string]*user
	// nobody stands for users there are not, so that they cost what others do.
	nobody *user
	slots  chan struct{} // one for each hash that is being computed
}

type digest = [sha256.Size]byte

type user struct {
	hash   Hash
	hashed bool // by hash: what it matches has to be found out

	mu           sync.Mutex
	right, wrong digest
	hasRight     bool // right is known
	hasWrong     bool // wrong is
}

// NewUsers returns users of whom the passwords are given, or the hashes.
func NewUsers(passwords map[string]string, hashes map[string]Hash) *Users {
	u := &Users{users: map[string]*user{}, nobody: &user{}, slots: make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1))}
	_, _ = rand.Read(u.key[:]) // never fails
	for name, password := range passwords {
		u.users[name] = &user{right: u.digest(password), hasRight: true}
	}
	for name, hash := range hashes {
		u.users[name] = &user{hash: hash, hashed: true}
		u.nobody = &user{hash: hash, hashed: true}
	}
	return u
}

func (u *Users) digest(password string) digest {
	mac := hmac.New(sha256.New, u.key[:])
	mac.Write([]byte(password))
	return digest(mac.Sum(nil))
}

// find returns a user, or nobody.
func (u *Users) find(name string) (found *user, exists bool) {
	if found, exists = u.users[name]; exists {
		return found, true
	}
	return u.nobody, false
}

// Known says whether a password is right, if that is known already. It takes
// the same time for right and wrong ones, and for users there are not.
func (u *Users) Known(name, password string) (right, known bool) {
	given := u.digest(password)
	found, exists := u.find(name)
	found.mu.Lock()
	defer found.mu.Unlock()
	isRight := subtle.ConstantTimeCompare(given[:], found.right[:]) == 1 && found.hasRight
	isWrong := subtle.ConstantTimeCompare(given[:], found.wrong[:]) == 1 && found.hasWrong
	if !found.hashed {
		return isRight && exists, true
	}
	return isRight && exists, exists && (isRight || isWrong)
}

// Verify finds out whether a password is right. It waits for its turn, as only
// some hashes are computed at a time; the error is that of ctx if that ends
// before.
func (u *Users) Verify(ctx context.Context, name, password string) (bool, error) {
	if right, known := u.Known(name, password); known {
		return right, nil
	}
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("verify password: %w", ctx.Err())
	}
	found, exists := u.find(name)
	right := found.hash.Matches(password)
	if !exists {
		return false, nil
	}
	given := u.digest(password)
	found.mu.Lock()
	defer found.mu.Unlock()
	if right {
		found.right, found.hasRight = given, true
	} else {
		found.wrong, found.hasWrong = given, true
	}
	return right, nil
}

// Valid is Verify without an end: for those who may wait.
func (u *Users) Valid(name, password string) bool {
	right, _ := u.Verify(context.Background(), name, password)
	return right
}
