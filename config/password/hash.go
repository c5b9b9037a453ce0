// SPDX-License-Identifier: Apache-2.0

// Package password keeps passwords as Argon2id hashes (RFC 9106), in the text
// form of the PHC string format that other tools write too:
//
//	$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$…
package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// What New spends on a hash: the second choice of RFC 9106 section 4 takes 64
// MiB, which a small gateway may not have; this is OWASP's least.
const (
	newMemory  = 19 << 10 // KiB
	newPasses  = 2
	newLanes   = 1
	saltLength = 16
	keyLength  = 32
)

// What Parse accepts, so that a hash cannot take the machine down.
const (
	maxMemory = 1 << 20 // KiB
	maxPasses = 64
	maxLanes  = 16
	minSalt   = 8
	minKey    = 16
	maxBytes  = 64 // of salt and key each
)

// ErrHash is what errors of Parse wrap.
var ErrHash = errors.New("not an Argon2id hash")

// Hash is the hash of a password. The zero Hash matches none.
type Hash struct {
	memory, passes uint32 // KiB, rounds
	lanes          uint8
	salt, key      []byte
}

// New hashes a password with a fresh salt. It takes tens of milliseconds.
func New(password string) Hash {
	h := Hash{memory: newMemory, passes: newPasses, lanes: newLanes, salt: make([]byte, saltLength)}
	_, _ = rand.Read(h.salt) // never fails
	h.key = h.derive(password, keyLength)
	return h
}

func (h Hash) derive(password string, length int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(length))
}

// Matches reports whether the hash is that of a password. It takes as long and
// as much memory as the hash says, usually tens of milliseconds: an event loop
// must not call it.
func (h Hash) Matches(password string) bool {
	return len(h.key) > 0 && subtle.ConstantTimeCompare(h.key, h.derive(password, len(h.key))) == 1
}

// String returns the PHC string of the hash.
func (h Hash) String() string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes, encode(h.salt), encode(h.key))
}
