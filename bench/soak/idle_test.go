// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tandem-gateway/tandem/bench/lab/labtest"
)

// figures are what a gateway holds when it has nothing to do.
type figures struct{ descriptors, goroutines int }

func (f figures) within(limit figures) bool {
	return f.descriptors <= limit.descriptors && f.goroutines <= limit.goroutines
}

const (
	// glances is how often it is looked what a gateway holds, for figures. Some
	// goroutines come and go with each message of the kernel.
	glances = 15
	// mostGlances is how often to look at most until it is no more than before.
	mostGlances = 200
	glanceEvery = 100 * time.Millisecond
)

// idle waits until nothing is under way, and returns what the gateways hold then.
// With a limit it waits a while until they hold no more.
func (w *world) idle(t *testing.T, limit *[2]figures) (held [2]figures) {
	t.Helper()
	for i, s := range []*side{w.home, w.aggregator} {
		labtest.Await(t, 2*patience, s.name+" to be idle", func() bool {
			status, err := s.client.Status(t.Context())
			return err == nil && status.Connections.Active == 0
		})
		for _, pid := range s.old {
			labtest.Await(t, 2*patience, fmt.Sprintf("process %d to end", pid), func() bool { return !alive(pid) })
		}
		var descriptors, goroutines []int
		for n := 1; ; n++ {
			f := s.holds(t)
			descriptors, goroutines = append(descriptors, f.descriptors), append(goroutines, f.goroutines)
			if n < glances {
				continue
			}
			held[i] = figures{median(descriptors[n-glances:]), median(goroutines[n-glances:])}
			if limit == nil || held[i].within(limit[i]) || n == mostGlances {
				break
			}
		}
	}
	return held
}

// holds looks once, after a moment.
func (s *side) holds(t *testing.T) figures {
	t.Helper()
	s.client.Close() // its connections count as well
	time.Sleep(glanceEvery)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid.Load()))
	if err != nil {
		t.Fatal(err)
	}
	goroutines, err := s.metric("go_goroutines")
	if err != nil {
		t.Fatal(err)
	}
	return figures{len(entries), int(goroutines)}
}

func median(list []int) int {
	sorted := slices.Sorted(slices.Values(list))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}
