// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"fmt"
	"strings"
)

// A client of another protocol is told so where that protocol has a way.
const (
	// Version 0, 91 "request rejected or failed", six bytes to ignore.
	socks4Rejected = "\x00\x5b\x00\x00\x00\x00\x00\x00"

	httpRefused = "HTTP/1.1 400 Bad Request\r\n" +
		"Content-Type: text/plain\r\nConnection: close\r\n\r\n" +
		"This is a SOCKS5 proxy, not an HTTP proxy.\n"
)

// tlsHandshake is the content type of a ClientHello, RFC 8446 section 5.1.
const tlsHandshake = 0x16

// httpMethods are the beginnings of requests that an HTTP client may send to
// what it believes to be a proxy or a server.
func httpMethods() [9]string {
	return [...]string{"GET ", "CONNECT ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "DELETE ", "PATCH ", "TRACE "}
}

// stranger names the protocol of a client that does not begin like SOCKS5, and
// what to tell it. It waits for as many bytes as are needed to be sure, so
// that the verdict does not depend on how they are cut.
func stranger(in []byte) (answer string, err error) {
	switch in[0] {
	case version4:
		return socks4Rejected, ErrSOCKS4
	case tlsHandshake:
		return "", ErrTLS
	}
	for _, m := range httpMethods() {
		k := min(len(m), len(in))
		if string(in[:k]) != m[:k] {
			continue
		}
		if k < len(m) {
			return "", ErrShort
		}
		return httpRefused, fmt.Errorf("%w: %s request", ErrHTTP, strings.TrimSpace(m))
	}
	return "", fmt.Errorf("%w: first byte %#02x", ErrVersion, in[0])
}
