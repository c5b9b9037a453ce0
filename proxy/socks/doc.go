// SPDX-License-Identifier: Apache-2.0

// Package socks speaks SOCKS5 (RFC 1928) with user name and password
// authentication (RFC 1929), as a server and as a client.
//
// The handshakes are machines without sockets: they are handed the bytes that
// have arrived and not been consumed, and answer with bytes to send. They can
// be driven from an event loop and hold nothing but a few dozen bytes. A
// client may send greeting, authentication, request and data in one segment.
//
// BIND and UDP ASSOCIATE need sockets of their own: Bind and Associate make
// them and serve them in goroutines that end with the connection.
//
// The codec of requests and the interface of credential stores are those of
// github.com/armon/go-socks5; where that package cannot do what is needed here
// a comment says why.
package socks
