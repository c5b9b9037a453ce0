// SPDX-License-Identifier: Apache-2.0

// Package client connects programs through a Tandem over Multipath TCP, and asks
// it for options of the connection: which paths the Tandem sends on, how fast,
// and the others of package options. The Tandem grants them as far as its
// configuration allows; see docs/options.md.
package client
