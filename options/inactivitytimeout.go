// SPDX-License-Identifier: Apache-2.0

package options

import "time"

// MaxInactivityTimeout is the longest inactivity-timeout.
const MaxInactivityTimeout = 30 * 24 * time.Hour

// InactivityTimeout is what a value of InactivityTimeout means; 0 leaves it to
// the listener's timeouts.
func (v Value) InactivityTimeout() time.Duration { return time.Duration(v) * time.Second }

var inactivityTimeout = func() descriptor {
	d := inUnits(time.Second, MaxInactivityTimeout)
	d.name = "inactivity-timeout"
	d.takes = "a duration of at most 720h, such as 5m"
	d.about = "how long a connection is kept without a path, or without data"
	d.example = "10m"
	return d
}()
