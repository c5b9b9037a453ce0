// SPDX-License-Identifier: Apache-2.0

// Package radius asks RADIUS servers who subscribers are and what they may do
// (RFC 2865), tells them what was used (RFC 2866), and hears from them when that
// changes (RFC 5176).
//
// Packets and attributes are those of layeh.com/radius. That package neither
// sends nor checks Message-Authenticator (RFC 3579 section 3.2), without which
// answers to Access-Requests can be forged by whoever is on the way
// (CVE-2024-3596): here each Access-Request begins with one, and an answer
// without one is none.
package radius
