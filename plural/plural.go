// SPDX-License-Identifier: Apache-2.0

// Package plural puts counts into sentences for people.
package plural

import "fmt"

// Of is a count with what is counted, whose plural ends in s: "1 connection",
// "0 connections".
func Of[N ~int | ~int64 | ~uint32 | ~uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
