// SPDX-License-Identifier: Apache-2.0

// Package records keeps one record of each connection that has ended: as JSON
// lines in files, and as IPFIX messages (RFC 7011) to a collector.
//
// Records wait in a queue of bounded length and are written by one goroutine.
// Where that is too slow they are dropped and counted: traffic never waits.
package records
