// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

// found runs what has values of its own instead of measuring.
func found(t *testing.T, metrics []experiment.Metric, judge func(*field)) *experiment.Outcome {
	t.Helper()
	dir := t.TempDir()
	x := experiment.Experiment{ID: "example", Title: "Example", Metrics: metrics, Run: func(_ context.Context, e *experiment.Env, r *experiment.Result) error {
		f := &field{r: r}
		for _, p := range peers.All(peers.Tools{}) {
			f.add(p.Label(), &p)
		}
		judge(f)
		return nil
	}}
	if err := experiment.Run(t.Context(), experiment.Options{Dir: dir}, []experiment.Experiment{x}); err != nil {
		t.Fatal(err)
	}
	results, err := experiment.ReadResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	return results.Outcomes[0]
}

func TestAtLeastBest(t *testing.T) {
	x := found(t, rateMetrics(connections(true)), func(f *field) {
		for round := range 6 {
			slow := 1 / float64(round+1) // the machine grows slower
			for arm, rate := range map[string]float64{
				peers.DirectName: 900, peers.CopyName: 500, tandemForward: 95, tandemSOCKS5: 140,
				"haproxy": 100, "nginx": 90, "microsocks": 100, "xray": 80,
			} {
				f.r.Add(arm, round, experiment.Measured{onlyRate: rate * slow})
			}
		}
		f.atLeastBest(onlyRate, tandemForward, peers.Forward, 1, "level")
		f.atLeastBest(onlyRate, tandemSOCKS5, peers.SOCKS5, 1.3, "ahead")
		f.atLeastBest("down", tandemForward, "", 1, "unheard of")
		f.r.Out(tandemForward, errNoMPTCP)
		f.atLeast(onlyRate, tandemForward, peers.CopyName, 0.1, "out")
		f.ratios(onlyRate)
	})
	var got []string
	for _, v := range x.Verdicts {
		got = append(got, fmt.Sprint(v.Asked, ": ", v.Got, " ", v.Met))
	}
	want := []string{
		"level, which is haproxy: 0.95 (0.95–0.95) false",
		"ahead, which is microsocks: 1.40 (1.40–1.40) true",
		"out: does not speak MPTCP false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(x.Notes) != 1 || !strings.Contains(x.Notes[0], "unheard of") {
		t.Errorf("notes %q", x.Notes)
	}
	if row := x.Tables[0].Rows[2]; !slices.Equal(row, []string{tandemForward, "0.19 (0.19–0.19)", "0.11 (0.11–0.11)"}) {
		t.Errorf("ratios %q", row)
	}
}

func TestJudgeIdle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change experiment.Measured // of the second repetition
		missed string
	}{
		{"good", nil, ""},
		{"not all opened", experiment.Measured{openMetric: 99}, "not all opened"},
		{"too much memory", experiment.Measured{memoryMetric: 1.01}, "memory"},
		{"a few descriptors besides", experiment.Measured{descriptorsMetric: 2.004}, ""},
		{"more descriptors", experiment.Measured{descriptorsMetric: 3}, "descriptors"},
		{"not given back", experiment.Measured{leftMetric: 1}, "descriptors not given back"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := found(t, idleMetrics(), func(f *field) {
				for round, change := range []experiment.Measured{nil, tt.change} {
					m := experiment.Measured{openMetric: 100, memoryMetric: 0.9, descriptorsMetric: 2, nextMetric: 1, leftMetric: 0, keptMetric: 0}
					for name, v := range change {
						m[name] = v
					}
					f.r.Add(tandemForward, round, m)
				}
				f.judgeIdle(tandemForward, 100)
				f.judgeIdle(tandemSOCKS5, 100) // was not measured
			})
			v := x.Verdicts[0]
			if v.Met != (tt.missed == "") || tt.missed != "" && !strings.HasSuffix(v.Got, "missed: "+tt.missed) {
				t.Errorf("%+v", v)
			}
			if x.Verdicts[1].Met {
				t.Errorf("what was not measured is met: %+v", x.Verdicts[1])
			}
		})
	}
}

func TestAlike(t *testing.T) {
	other := errors.New("timeout")
	for want, reasons := range map[string][]error{
		"does not speak MPTCP":                    {fmt.Errorf("up: %w", errNoMPTCP), fmt.Errorf("down: %w", errNoMPTCP)},
		"up: does not speak MPTCP; down: timeout": {fmt.Errorf("up: %w", errNoMPTCP), fmt.Errorf("down: %w", other)},
		"timeout": {fmt.Errorf("rate: %w", other)},
	} {
		if got := alike(reasons).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
