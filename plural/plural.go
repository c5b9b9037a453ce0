// SPDX-License-Identifier: Apache-2.0

// Package plural puts counts into sentences for people.
package plural

import (
	"fmt"
	"strconv"
)

// Of is a count with what is counted, whose plural ends in s: "1 connection",
// "0 connections".
func Of[N ~int | ~int64 | ~uint32 | ~uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Digits is a number with its thousands apart: 1,234,567.
func Digits[N ~int64 | ~uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
