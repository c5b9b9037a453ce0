// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"time"
)

// bytesText is a number of bytes as people read it: 999 B, 1.2 kB, 34 MB.
func bytesText(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	value, unit := float64(n), 0
	// What would be printed as 1000 gets the next unit.
	for ; value >= 999.5 && unit < 6; unit++ {
		value /= 1000
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %cB", value, " kMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f %cB", value, " kMGTPE"[unit])
}

// ageText is a time of that many seconds in its two largest units: 12s, 3m05s,
// 4h07m, 12d03h. Shorter ones are exact enough to tell a live connection.
func ageText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	s := int64(d / time.Second)
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d/time.Millisecond)
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 60*60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*60*60:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// bitsText is a rate in bits per second: 999 bit/s, 1.2 Mbit/s.
func bitsText(n float64) string {
	unit := 0
	for ; n >= 999.5 && unit < 6; unit++ {
		n /= 1000
	}
	prefix := []string{"", "k", "M", "G", "T", "P", "E"}[unit]
	if n < 9.95 && unit > 0 {
		return fmt.Sprintf("%.1f %sbit/s", n, prefix)
	}
	return fmt.Sprintf("%.0f %sbit/s", n, prefix)
}
