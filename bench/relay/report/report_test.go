// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-gateway/tandem/bench/experiment"
)

func TestSummarize(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{3}, Summary{3, 3, 3, 1}},
		{[]float64{3, 1}, Summary{2, 1, 3, 2}},
		{[]float64{9, 1, 5}, Summary{5, 1, 9, 3}},
		{[]float64{4, 1, 2, 100}, Summary{3, 1, 100, 4}},
	} {
		if got := Summarize(tt.values); got != tt.want {
			t.Errorf("%v gives %+v, want %+v", tt.values, got, tt.want)
		}
	}
}

// series are samples with the given rates, in runs from 0; a rate of 0 is a
// failure.
func series(scenario, peer, front string, rates ...float64) []Sample {
	samples := make([]Sample, len(rates))
	for i, rate := range rates {
		samples[i] = Sample{Scenario: scenario, Peer: peer, Front: front, Run: i, Rate: rate, Cost: 1e-4}
		if rate == 0 {
			samples[i].Error = "broken"
		}
	}
	return samples
}

// TestRatioIsPaired: when the machine gets slower for both alike, the ratio
// stays.
func TestRatioIsPaired(t *testing.T) {
	a, b := series("", "", "", 10, 8, 0, 2), series("", "", "", 5, 4, 7, 1)
	if got, want := Ratio(a, b), (Summary{2, 2, 2, 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Ratio(a, series("", "", "", 0, 0)); got.N != 0 {
		t.Errorf("over nothing: %+v", got)
	}
	if got := Ratio(nil, b); got.N != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestVerdicts(t *testing.T) {
	for want, s := range map[string]Summary{
		"met":                  {Median: 1.2, Low: 1, High: 1.3},
		"met, within noise":    {Median: 1, Low: 0.9, High: 1.1},
		"missed, within noise": {Median: 0.9, Low: 0.8, High: 1},
		"missed":               {Median: 0.5, Low: 0.4, High: 0.9},
	} {
		if got := s.against(1); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

func TestHeldVerdicts(t *testing.T) {
	good := Held{Wanted: 1000, Opened: 1000, Memory: [3]int64{5e6, 6e6, 6e6}, Descriptors: [3]int{9, 2012, 9}, Next: 1, Survived: true}
	for _, tt := range []struct {
		change func(*Held)
		want   string
	}{
		{func(*Held) {}, "met"},
		{func(h *Held) { h.Memory[1] += 1e6 }, "missed: memory"},
		{func(h *Held) { h.Descriptors[1] += 1000 }, "missed: descriptors"},
		{func(h *Held) { h.Descriptors[2]++ }, "missed: descriptors not given back"},
		{func(h *Held) { h.Next = 0 }, "missed: next connection"},
		{func(h *Held) { h.Wanted++; h.Survived = false }, "missed: not all opened, died"},
	} {
		h := good
		tt.change(&h)
		if got := judgeHeld(&Scenario{}, tandemForward, &Sample{Held: &h}); got.word != tt.want {
			t.Errorf("%+v: %q, want %q", h, got.word, tt.want)
		}
	}
	if got := judgeHeld(&Scenario{}, tandemForward, &Sample{Error: "did not start"}); got.word != "missed" || got.value != "did not start" {
		t.Errorf("without a result: %+v", got)
	}
}

func example(sinks ...Sink) *Report {
	r := New(experiment.Machine{Kernel: "6.18", Congestion: "reno"}, sinks...)
	for _, row := range []row{directRow, copyRow, tandemForward, tandemSOCKS, {"haproxy", "forward"}, {"dante", "socks5"}} {
		r.Row(row.peer, row.front)
	}
	r.Begin(Scenario{"bulk8-up", "eight", Bulk})
	for _, s := range [][]Sample{
		series("bulk8-up", "direct", "-", 40e9, 44e9),
		series("bulk8-up", "io.Copy", "forward", 20e9, 20e9),
		series("bulk8-up", "tandem", "forward", 36e9, 33e9),
		series("bulk8-up", "haproxy", "forward", 30e9, 30e9),
		series("bulk8-up", "dante", "socks5", 0),
	} {
		for _, sample := range s {
			r.Add(sample)
		}
	}
	r.Begin(Scenario{"connections", "many", Connections})
	for _, s := range [][]Sample{
		series("connections", "tandem", "socks5", 3000, 3300),
		series("connections", "tandem", "forward", 7000, 7000),
		series("connections", "haproxy", "forward", 7700, 8000),
		series("connections", "dante", "socks5", 2000, 2000),
	} {
		for _, sample := range s {
			r.Add(sample)
		}
	}
	r.Begin(Scenario{"idle", "tunnels", Tunnels})
	r.Add(Sample{Scenario: "idle", Peer: "tandem", Front: "forward", Held: &Held{
		Wanted: 1000, Opened: 1000, Memory: [3]int64{5e6, 55e5, 55e5}, Descriptors: [3]int{9, 2009, 9}, Next: 2e6, Survived: true,
	}})
	return r
}

// TestFailureIsAMiss: a relay that does not run does not meet its targets.
func TestFailureIsAMiss(t *testing.T) {
	r := New(experiment.Machine{})
	r.Row("io.Copy", "forward")
	r.Row("tandem", "forward")
	r.Begin(Scenario{"bulk-up", "one", Bulk})
	for _, s := range append(series("bulk-up", "tandem", "forward", 0), series("bulk-up", "io.Copy", "forward", 5)...) {
		r.Add(s)
	}
	got := r.judge(&r.scenarios[0])
	if len(got) != 1 || got[0].word != "missed" || got[0].value != "broken" {
		t.Errorf("verdicts %+v", got)
	}
}

func TestWrite(t *testing.T) {
	var out bytes.Buffer
	example().Write(&out, []string{"about"})
	// Columns are aligned; that is not what this is about.
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"about",
		"bulk8-up: eight",
		"direct - 42.0 (40.0–44.0) 1.00 2.10 0.00",
		"tandem forward 34.5 (33.0–36.0) 0.82 1.73 0.00",
		"dante socks5 - broken",
		"tandem forward 7000 (7000–7000) 100 0.0 0.0",
		"tandem forward 1000 2.00 0.50 5.5 2.0 +0, +0.5",
		"bulk8-up: tandem forward / direct ≥ 0.85 0.82 (0.75–0.90) missed, within noise",
		"bulk8-up: tandem forward / haproxy, the best peer ≥ 1.00 1.15 (1.10–1.20) met",
		"connections: tandem forward / haproxy, the best peer ≥ 1.00 0.89 (0.88–0.91) missed",
		"connections: tandem socks5 / dante, the best peer ≥ 1.30 1.57 (1.50–1.65) met",
		"idle: tandem forward, 2 descriptors, ≤ 1.0 kB each, survives, next served, all given back 1000 of 1000: 2.00, 0.50 kB met",
	} {
		found := false
		for _, line := range got {
			found = found || line == want
		}
		if !found {
			t.Errorf("no line %q", want)
		}
	}
	if t.Failed() {
		t.Logf("written:\n%s", &out)
	}
}

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	r := example(JSONLines(&out))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	var m experiment.Machine
	if err := d.Decode(&m); err != nil || m != r.machine {
		t.Errorf("machine %+v, %v", m, err)
	}
	var samples []Sample
	for d.More() {
		var s Sample
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		samples = append(samples, s)
	}
	if len(samples) != 18 {
		t.Errorf("%d samples, want 18", len(samples))
	}
	want := series("bulk8-up", "direct", "-", 40e9)[0]
	if diff := cmp.Diff(want, samples[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSinkErrorsAreKept(t *testing.T) {
	full := errors.New("disk full")
	r := New(experiment.Machine{}, func(any) error { return full })
	if err := r.Err(); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}
