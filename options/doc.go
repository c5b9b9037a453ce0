// SPDX-License-Identifier: Apache-2.0

// Package options is the model of what can be chosen for one connection:
// which options there are, their ranges, how they are written by people and on
// the wire, and who may choose what.
//
// # Values
//
// A [Value] is the three bytes that an option has on the wire, so that one that
// is parsed, printed, sent and read again is always the same. The table of
// descriptors in option.go drives all of that; docs/add-an-option.md adds one.
//
//	option              type  bits of the value                      unit, rounding        limits
//	scheduler           1     23 = 0: 16-22 mode, others 0                                 see Mode
//	                          23 = 1: three weights of 7 bits        percent or parts      1 to 100; the third may be 0: absent
//	                                  from bit 14, 7 and 0; 21-22 0
//	subflow-rate-limit  2     20-23 path, 16-19 e, 0-15 m:           m × 10^e kbit/s,      e to 4; below MinRate it is raised
//	                          0xfffff no limit                       down
//	delay-threshold     3     0-23                                   ms, up                1 ms to 60 s; 0 is none
//	inactivity-timeout  4     0-23                                   s, up                 1 s to 30 days; 0 is the default
//	congestion-control  5     0-7 number of the name                                       0 is the default
//	initial-window      6     0-15                                   segments              1 to 65535; 0 is the default
//	user-timeout        7     15 granularity, 0-14 (RFC 5482)        s or min, up          1 s to 24 days; 0 is the default
//	delayed-ack         8     8-15 share of smallest RTT, 0-7 count  percent; segments     1 to 100; 1 to 255; 0: not given
//
// Bits that are not named are zero. Bit 7 of the type is the echo: the record
// says what was granted.
//
// # Who chooses
//
// A listener's defaults, the subscriber's policy, the client's request and the
// operator's change are laid over each other by [Policy.Grant]; only what the
// client asks for is capped. What was asked, what was granted and why is a
// [Grant].
package options
