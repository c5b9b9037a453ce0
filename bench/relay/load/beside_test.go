// SPDX-License-Identifier: Apache-2.0

package load

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestBeside opens connections through three relays in turn.
func TestBeside(t *testing.T) {
	job := Job{
		Workload: Connections, Via: serve(t, answer), Beside: []netip.AddrPort{serve(t, answer), serve(t, answer)},
		Streams: 1, Patience: 30 * time.Second,
	}
	x, err := newExchanger(&job, 30, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.run(t.Context(), job.Streams); err != nil {
		t.Fatal(err)
	}
	if r := x.result; r.Connections != 30 || r.Failed != 0 || !slices.Equal(r.Each, []int{10, 10, 10}) {
		t.Errorf("%+v", r)
	}
}
