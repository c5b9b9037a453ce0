// SPDX-License-Identifier: Apache-2.0

// Package peers knows the relays that are compared: how each is started at its
// best on one address, with a TCP or an MPTCP listener, and what it needs for
// that.
//
// The leg to the server is plain TCP. Programs that cannot open MPTCP listeners
// themselves inherit one where they know how to (haproxy, nginx); the others
// are wrapped by mptcpize, whose library makes MPTCP sockets of all TCP ones.
// Their connections to servers are MPTCP sockets too then, which fall back to
// TCP on the wire.
package peers
