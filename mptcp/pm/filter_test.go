// SPDX-License-Identifier: Apache-2.0

package pm

import (
	"net/netip"
	"testing"

	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// TestOnly: of two connections, only what was asked for is told.
func TestOnly(t *testing.T) {
	tp := labtest.TwoPath(t, lab.TwoPathSpec{})
	userspace(t, tp.Client)
	events := subscribeOn(t, tp.Client, Options{})
	if err := events.Only(Established{}, Closed{}); err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(tp.AggregatorAddr.V4, 0)
	for range 2 {
		c := connect(t, tp.Client, tp.Aggregator, addr, addr)
		c.close()
		for _, want := range []Event{Established{}, Closed{}} {
			event, err := events.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if kindOf(event) != kindOf(want) {
				t.Fatalf("%+v, want a %T", event, want)
			}
		}
	}
}

func TestEveryKindHasANumber(t *testing.T) {
	numbers := make(map[uint8]bool)
	for _, e := range []Event{Created{}, Established{}, Closed{}, Announced{}, Removed{}, SubflowEstablished{},
		SubflowClosed{}, SubflowPriority{}, ListenerCreated{}, ListenerClosed{}} {
		n := kindOf(e)
		if n == 0 || numbers[n] {
			t.Errorf("%T has number %d", e, n)
		}
		numbers[n] = true
		if parsed, err := parseEvent(n, nil); err != nil || kindOf(parsed) != n {
			t.Errorf("%d is read as %T, %v", n, parsed, err)
		}
	}
	if kindOf(Gap{}) != 0 {
		t.Error("a gap has a number")
	}
}
