// SPDX-License-Identifier: Apache-2.0

// Package policy says who may come, where they may go and how many at a time.
//
//   - [Sources] is the list of prefixes whose hosts may use a listener.
//   - [Destinations] protects the networks behind the proxy: what is not on the
//     public Internet, and the proxy itself, is out of reach unless a rule says
//     otherwise.
//   - [Limiter] counts connections, in all and per source prefix.
//
// All of them are made to be asked by several event loops at once, and neither
// [Sources.Allows], [Destinations.Decide] nor [Limiter.Admit] of a known prefix
// allocates memory. Addresses are compared without their zone, and an IPv4-mapped
// IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4 address it stands for.
package policy
