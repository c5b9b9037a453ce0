// SPDX-License-Identifier: Apache-2.0

// Package wire encodes and decodes the messages of the 0-RTT TCP Convert
// Protocol (RFC 8803).
//
// A message is a fixed header of four bytes and a list of TLVs. Each side
// sends one at the very start of its byte stream; everything after it belongs
// to the relayed connection. Parse therefore takes all bytes received so far
// and says how many of them the message occupies.
//
// What Parse accepts is decided here, once, for both sides:
//
//   - Padding, reserved and unassigned bytes are written as zero and ignored
//     when read.
//   - A TLV of length zero, one that runs past the message, a fixed-size TLV
//     of another size and a second copy of any TLV are Malformed.
//   - TLV types that RFC 8803 does not define are Unsupported; the answer
//     names all of them. Malformed wins when a message is both.
//   - Private-use TLVs (192 to 255) are handed to the caller, who knows which
//     of them mean something.
//   - The magic number is looked at first: what has another one is not
//     Convert, and nothing can be said to it that it would understand.
//
// Slices in a parsed Message alias the input, except Supported and the list
// of a Connect's Options (whose values alias it as well).
package wire
