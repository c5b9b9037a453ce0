// SPDX-License-Identifier: Apache-2.0

// Package mptcp is Linux's socket interface for Multipath TCP (RFC 8684).
//
// # Connections
//
// The functions on raw descriptors (Listen, Accept, StartConnect,
// ConnectError, Negotiated) are non-blocking and made for event loops. Dialer
// and NewListener serve goroutines with the types of package net.
//
// Two things differ from package net on purpose. A connection that fails over
// MPTCP is not tried again as plain TCP: net.Dialer does that after any error,
// which doubles the time to find out that a host is down and hides a
// downgrade. And whether MPTCP was negotiated, and if not why, can always be
// found out: see Status and, in more detail, Explain.
//
// The kernel falls back to plain TCP by itself when the peer or the path does
// not let MPTCP through (RFC 8684 section 3.7); such a connection works, and
// Status says so. ModeRequire refuses it.
//
// # State
//
// InfoOf tells about a connection, Subflows about each TCP connection that it
// is made of, with addresses and counters. Both read as much as the running
// kernel has, and leave the rest zero.
//
// # Settings
//
// SocketOptions are the options that MPTCP sockets take, and accepted ones
// inherit. ProbeSocketOptions finds out what this kernel does with others. Sysctl
// and SetPathManager change settings of the network namespace and put them
// back. Subflows are opened and closed with package pm, below this one.
package mptcp
