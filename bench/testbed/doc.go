// SPDX-License-Identifier: Apache-2.0

// Package testbed builds what a workload is measured on: a preset of the lab,
// Tandem at the edge and at the aggregator, a server behind it, and all the
// ways that lead from the client to that server: plain TCP over each access
// link, plain MPTCP, Tandem in each of its modes, and other relays.
//
// All ways are there at the same time and share the links, so that they can be
// measured in turns under the same conditions; what links carried meanwhile is
// told by a [Meter].
package testbed
