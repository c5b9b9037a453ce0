// SPDX-License-Identifier: Apache-2.0

// Package relay measures Tandem beside other relays: bulk transfers, new
// connections, latency under load, idle tunnels, with MPTCP and with plain TCP
// towards the client.
//
// All of them run in one network namespace, over its loopback device, in turns,
// beside a transfer without any relay and a bare io.Copy relay. What is not
// installed does not take part, and the table says so.
package relay
