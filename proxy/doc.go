// SPDX-License-Identifier: Apache-2.0

// Package proxy is the life of a connection, from accept to record.
//
//	accept → authorise → policy → dial → relay → record
//
// A Listener joins a FrontEnd, which speaks with clients and finds out what
// they want (SOCKS5, RFC 8803, the destination of an intercepted connection,
// a fixed target), to an Upstream, which knows how to reach it (directly,
// through aggregators, through another SOCKS5 server). Neither of them touches
// a socket: they are handed the bytes that have arrived and answer with bytes
// to send, so that a session can drive them from an event loop without a
// goroutine per connection.
package proxy
