// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
)

// Derive returns what is derived from a key (RFC 8684, section 3.2; RFC 6824,
// the same section): the token, which names the connection at the host that
// chose the key, and the initial data sequence number, after which the stream of
// that host starts. Version 0 uses SHA-1, later ones SHA-256.
func Derive(version uint8, key uint64) (token uint32, idsn uint64) {
	var text [8]byte
	be.PutUint64(text[:], key)
	if version == 0 {
		sum := sha1.Sum(text[:])
		return be.Uint32(sum[:]), be.Uint64(sum[len(sum)-8:])
	}
	sum := sha256.Sum256(text[:])
	return be.Uint32(sum[:]), be.Uint64(sum[len(sum)-8:])
}

// JoinCode is the code with which the host that has chosen local authenticates
// itself in MP_JOIN, which carries its first 8 or 20 bytes (RFC 8684, section
// 3.2).
func JoinCode(version uint8, local, remote uint64, localNonce, remoteNonce uint32) []byte {
	var key [16]byte
	be.PutUint64(key[:], local)
	be.PutUint64(key[8:], remote)
	var nonces [8]byte
	be.PutUint32(nonces[:], localNonce)
	be.PutUint32(nonces[4:], remoteNonce)
	function := sha256.New
	if version == 0 {
		function = sha1.New
	}
	code := hmac.New(function, key[:])
	code.Write(nonces[:])
	return code.Sum(nil)
}
