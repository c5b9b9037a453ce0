// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	l := NewLatency()
	for i := range 1000 {
		l.Record(time.Duration(i+1) * time.Millisecond)
	}
	other := NewLatency()
	other.Record(0)
	other.Record(time.Hour)
	l.Merge(other)
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if math.Abs(float64(got-want)) > 0.002*float64(want)+1000 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("median", l.Percentile(50), 500*time.Millisecond)
	near("99th percentile", l.Percentile(99), 992*time.Millisecond)
	near("longest", l.Max(), longest)
	if l.Count() != 1002 {
		t.Errorf("%d durations", l.Count())
	}
	values := l.Milliseconds()
	if len(values) != 1002 || !slices.IsSorted(values) || math.Abs(values[500]-500) > 1 {
		t.Errorf("%d values, the median is %v", len(values), values[len(values)/2])
	}
}

func TestLatencyJSON(t *testing.T) {
	l := NewLatency()
	for i := range 100 {
		l.Record(time.Duration(i) * 77 * time.Microsecond)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	again := new(Latency)
	if err := json.Unmarshal(text, again); err != nil {
		t.Fatal(err)
	}
	if again.Count() != 100 || again.Percentile(99) != l.Percentile(99) || again.Max() != l.Max() {
		t.Errorf("%s becomes %d, %v, %v", text, again.Count(), again.Percentile(99), again.Max())
	}
	if err := json.Unmarshal([]byte(`{"hdr":"nonsense"}`), again); err == nil {
		t.Error("nonsense is read")
	}
}
