// SPDX-License-Identifier: Apache-2.0

package paths

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	type loss struct {
		cause Cause
		life  time.Duration
	}
	for _, tt := range []struct {
		name   string
		losses []loss
		want   time.Duration
	}{
		{"at once", []loss{{ResetReceived, time.Hour}}, 0},
		{"at once again and again", []loss{{ResetReceived, 2 * time.Second}, {ResetReceived, 2 * time.Second}, {TimedOut, time.Second}}, 0},
		{"the first failure", []loss{{Refused, 0}}, 0},
		{"the second failure", []loss{{Refused, 0}, {Refused, 0}}, 500 * time.Millisecond},
		{"the fifth failure", []loss{{Refused, 0}, {Refused, 0}, {ResetReceived, 10 * time.Millisecond}, {Refused, 0}, {Refused, 0}}, 4 * time.Second},
		{"a long life makes up for all", []loss{{Refused, 0}, {Refused, 0}, {Refused, 0}, {ResetReceived, time.Minute}}, 0},
		{"an orderly end", []loss{{ClosedByPeer, time.Hour}}, 500 * time.Millisecond},
		{"the first orderly end at once", []loss{{ClosedByPeer, 0}}, 500 * time.Millisecond},
		{"for ever", make([]loss, 1000), time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tr trouble
			for _, l := range tt.losses {
				tr.lost(l.cause, l.life)
			}
			if got := tr.delay(); got != tt.want {
				t.Errorf("delay %v, want %v", got, tt.want)
			}
		})
	}
}
