// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Credentials is a credential store of fixed users. Passwords are compared in
// constant time, and an unknown user costs what a known one does; the store of
// the package that lends the codec compares byte by byte.
type Credentials struct {
	users map[string][sha256.Size]byte
}

// NewCredentials returns a store of the passwords of users.
func NewCredentials(passwords map[string]string) *Credentials {
	c := &Credentials{users: make(map[string][sha256.Size]byte, len(passwords))}
	for user, password := range passwords {
		c.users[user] = sha256.Sum256([]byte(password))
	}
	return c
}

// Valid implements the CredentialStore of github.com/armon/go-socks5.
func (c *Credentials) Valid(user, password string) bool {
	want, known := c.users[user]
	got := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && known
}
