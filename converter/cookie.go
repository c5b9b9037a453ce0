// SPDX-License-Identifier: Apache-2.0

package converter

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// CookieLen is the size of a cookie in bytes: whole words, so that the
	// padding of TLVs is none, and too long to be guessed.
	CookieLen = 16
	// MinSecretLen is how many bytes the secret of a CookieJar has at least.
	MinSecretLen = 16
	// DefaultCookieRotation is how long a key of a CookieJar is in use.
	DefaultCookieRotation = 24 * time.Hour
)

// CookieJar issues the cookies with which clients prove that they can receive
// at their address (RFC 8803, section 6.2.7), and knows its own again. It keeps
// nothing per client: a cookie is a MAC of the address, under a key that is
// derived from the secret and changes with time.
type CookieJar struct {
	secret   []byte
	rotation time.Duration
}

// NewCookieJar returns a jar whose key changes every rotation; a cookie is good
// for at least that long and at most for twice as long. Zero is
// DefaultCookieRotation. Converters with the same secret and rotation accept
// each other's cookies, also after a restart. Without a secret, one that was
// drawn for this process is used.
func NewCookieJar(secret []byte, rotation time.Duration) (*CookieJar, error) {
	switch {
	case len(secret) == 0:
		secret = drawnSecret()
	case len(secret) < MinSecretLen:
		return nil, fmt.Errorf("cookie secret has %d bytes: want at least %d", len(secret), MinSecretLen)
	}
	switch {
	case rotation == 0:
		rotation = DefaultCookieRotation
	case rotation < time.Second:
		return nil, fmt.Errorf("cookie rotation of %s: want at least a second", rotation)
	}
	return &CookieJar{secret: slices.Clone(secret), rotation: rotation}, nil
}

// drawnSecret lives as long as the process, so that cookies outlive a jar that
// is replaced when a configuration is read again.
var drawnSecret = sync.OnceValue(func() []byte {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	return secret
})

// Issue returns the cookie of client, CookieLen bytes.
func (j *CookieJar) Issue(client netip.Addr, now time.Time) []byte {
	return j.mac(client, j.epoch(now))
}

// Valid reports whether cookie is client's, made with the present key or the
// one before it. The time it takes does not depend on how much is right.
func (j *CookieJar) Valid(client netip.Addr, cookie []byte, now time.Time) bool {
	epoch := j.epoch(now)
	present := hmac.Equal(cookie, j.mac(client, epoch))
	previous := hmac.Equal(cookie, j.mac(client, epoch-1))
	return present || previous
}

func (j *CookieJar) epoch(now time.Time) int64 { return now.UnixNano() / int64(j.rotation) }

func (j *CookieJar) mac(client netip.Addr, epoch int64) []byte {
	keyed := hmac.New(sha256.New, j.secret)
	var period [8]byte
	binary.BigEndian.PutUint64(period[:], uint64(epoch))
	keyed.Write(period[:])

	mac := hmac.New(sha256.New, keyed.Sum(nil))
	// An IPv4 client is the same whether the listener is IPv4 or both.
	addr := client.Unmap().WithZone("").As16()
	mac.Write(addr[:])
	return mac.Sum(nil)[:CookieLen]
}
