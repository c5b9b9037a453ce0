// SPDX-License-Identifier: Apache-2.0

// Package load puts load on relays: a source, which is the server behind them,
// and a client that drives one job at a time through one of them.
//
// Both are meant to be processes of their own, so that their CPU time is not
// mixed up with the relay's: [ServeSource] and [RunClient] are the whole of
// such a process. They speak JSON lines with whoever started them.
//
// Every job is bounded in time, whatever the relay does.
package load
