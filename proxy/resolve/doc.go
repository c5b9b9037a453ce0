// SPDX-License-Identifier: Apache-2.0

// Package resolve turns host names into the lists of addresses that RFC 8305
// ("happy eyeballs") wants: both families asked for at the same time, one slow
// family not waited for, and the answers interleaved.
package resolve
