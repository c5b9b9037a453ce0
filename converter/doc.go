// SPDX-License-Identifier: Apache-2.0

// Package converter speaks the 0-RTT TCP Convert Protocol (RFC 8803), on both
// sides, without touching a socket.
//
// Server is the Transport Converter. It is fed all bytes that a client has
// sent so far and returns a Request, or a Refusal with the bytes to answer.
// Once the connection to the server stands or has failed, Success or Failure
// encode the news.
//
// Dialer is the client of one converter, which remembers the cookie, what the
// converter does not support, which servers need no converter, and that it is
// to be left alone for a while. An Exchange of it writes one request, which may
// travel in the SYN, and is then fed all bytes of the answer so far.
//
// Three rules are left to whoever owns the sockets:
//
//   - An answer with an error must reach the client: send it, shut down the
//     sending side, then read and discard until the client closes or a
//     deadline passes. Closing a socket with unread data resets it, and the
//     reset may overtake the answer.
//   - A client that sends half a message is given a deadline.
//   - Pending requests and errors per client are limited. An answer with an
//     error is never much longer than what provoked it, but nor is it free.
//
// All methods of Server, CookieJar and Dialer may be called at the same time.
package converter
