// SPDX-License-Identifier: Apache-2.0

// Package workload puts the load of applications on a way to a server: bulk
// transfers, requests and responses in open and closed loop, thin streams, web
// pages, voice requests, typing over SSH, idle tunnels.
//
// A workload knows its way as a [Dialer] only. [Serve] is the other end of all
// of them. Every byte is checked at both ends, so that one that is lost,
// repeated or out of place fails the exchange.
//
// What is random comes from a seed: the same workload sends the same bytes at
// the same intended times. In an open loop latency counts from the intended
// time, whatever the connection was doing then, so that a stall shows in all
// requests that it has delayed (no coordinated omission).
package workload
