// SPDX-License-Identifier: Apache-2.0

package options

import "time"

// MaxDelayThreshold is the longest delay-threshold.
const MaxDelayThreshold = time.Minute

// DelayThreshold is what a value of DelayThreshold means; 0 is none.
func (v Value) DelayThreshold() time.Duration { return time.Duration(v) * time.Millisecond }

var delayThreshold = func() descriptor {
	d := inUnits(time.Millisecond, MaxDelayThreshold)
	d.name = "delay-threshold"
	d.takes = "a duration of at most 1m, such as 30ms"
	d.about = "other paths are used only while the smoothed RTT of the first one is above it"
	d.example = "30ms"
	return d
}()
