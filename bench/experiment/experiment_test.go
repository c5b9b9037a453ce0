// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-gateway/tandem/bench/figure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChoose(t *testing.T) {
	all := []Experiment{{ID: "paths-healing"}, {ID: "paths-cost"}, {ID: "relay-bulk"}, {ID: "relay-bulk8"}}
	for _, tt := range []struct {
		names string
		want  string
	}{
		{"", "paths-healing paths-cost relay-bulk relay-bulk8"},
		{"paths", "paths-healing paths-cost"},
		{"relay-bulk paths-healing", "paths-healing relay-bulk"},
	} {
		got, err := Choose(all, strings.Fields(tt.names))
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, x := range got {
			ids = append(ids, x.ID)
		}
		if strings.Join(ids, " ") != tt.want {
			t.Errorf("%q gives %v", tt.names, ids)
		}
	}
	for _, wrong := range []string{"relay-bul", "nonsense"} {
		if _, err := Choose(all, []string{"paths", wrong}); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

var errNoMPTCP = errors.New("does not speak MPTCP")

// example compares three arms, one of which cannot take part.
func example() Experiment {
	var order []string
	return Experiment{
		ID: "example-rates", Title: "Rates", Question: "Which is faster?", Setup: "None.",
		Metrics:   []Metric{{"rate", "Gbit/s", Higher}, {"cost", "s/GB", Lower}},
		Published: []Published{{"thesis, fig 0", "10 Gbit/s"}},
		Takes:     time.Minute, Quick: time.Second,
		Run: func(ctx context.Context, e *Env, r *Result) error {
			arm := func(name string, base float64) Arm {
				return Arm{Name: name, Measure: func(_ context.Context, round int) (Measured, error) {
					order = append(order, name)
					// The machine grows slower, for both alike.
					return Measured{"rate": base / float64(round+1), "cost": 1}, nil
				}}
			}
			broken := Arm{Name: "c", MayFail: true, Measure: func(context.Context, int) (Measured, error) { return nil, errNoMPTCP }}
			if err := r.Turns(ctx, e.Rounds(6, 2), arm("a", 10), broken, arm("b", 20)); err != nil {
				return err
			}
			if got := strings.Join(order, ""); !strings.HasPrefix(got, "abba") {
				return errors.New("order " + got)
			}
			r.Remark("a", "slow %s", "indeed")
			r.Remark("a", "slow indeed")
			r.Summary()
			r.Judge(true, "b is faster", "%s", r.Compare("rate", "b", "a"))
			r.Note("c is %s", "out")
			r.Plot("", r.Bars("rate", "Rates"))
			r.NextTable("more")
			r.Columns("x")
			r.Row("1")
			return nil
		},
	}
}

func run(t *testing.T, o Options, all ...Experiment) (*Results, string, error) {
	t.Helper()
	var text, progress bytes.Buffer
	o.Dir, o.Text, o.Progress = filepath.Join(t.TempDir(), "new"), &text, &progress
	err := Run(t.Context(), o, all)
	results, readErr := ReadResults(o.Dir)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return results, text.String() + progress.String(), err
}

func TestRun(t *testing.T) {
	results, text, err := run(t, Options{Env: Env{Seed: 7}, Commit: "abc"}, example())
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if a := results.About; a.Seed != 7 || a.Commit != "abc" || a.Kernel == "" || a.CPUs == 0 || a.Memory == 0 || a.Quick {
		t.Errorf("about %+v", a)
	}
	x := results.Outcomes[0]
	if x.Failed() != "" || x.Question != "Which is faster?" || len(x.Metrics) != 2 || len(x.Repetitions) != 12 || len(x.Tables) != 2 || len(x.Notes) != 1 {
		t.Errorf("outcome %+v", x)
	}
	if len(x.Out) != 1 || x.Out[0] != (Out{"c", errNoMPTCP.Error()}) {
		t.Errorf("out %+v", x.Out)
	}
	if got := x.Values("b", "rate"); !slices.Equal(got[:2], []float64{20, 10}) || len(got) != 6 {
		t.Errorf("values %v", got)
	}
	if got := x.Verdicts[0].Got; got != "+100.0 % (+100.0 to +100.0 %), better" {
		t.Errorf("verdict %q", got)
	}
	if _, err := os.Stat(filepath.Join(results.Dir, "example-rates.svg")); err != nil || x.Plots[0].Title != "Rates" {
		t.Errorf("plot %+v, %v", x.Plots, err)
	}
	for _, want := range []string{
		"example-rates: Rates", "published: thesis, fig 0: 10 Gbit/s", "met: b is faster", "note: c is out",
		"does not speak MPTCP", "1.00 (1.00–1.00)  slow indeed\n", "1 experiment, 0 failed; 1 of 1 targets met", "[1/1, 1m0s left] example-rates: begins",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestFailed: an experiment that cannot run fails, says why, and the next one
// runs all the same.
func TestFailed(t *testing.T) {
	cannot := Experiment{ID: "example-cannot", Takes: 1, Quick: 1, Run: func(ctx context.Context, _ *Env, r *Result) error {
		return r.Turns(ctx, 1, Arm{Name: "a", Measure: func(context.Context, int) (Measured, error) { return nil, errNoMPTCP }})
	}}
	results, text, err := run(t, Options{Env: Env{Quick: true}}, cannot, example())
	if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "example-cannot: a: does not speak MPTCP") {
		t.Errorf("error %v", err)
	}
	if got := results.Outcomes[0].Failed(); !strings.Contains(got, errNoMPTCP.Error()) {
		t.Errorf("failed %q", got)
	}
	if len(results.Outcomes) != 2 || results.Outcomes[1].Failed() != "" || !strings.Contains(text, "2 experiments, 1 failed") {
		t.Errorf("%d outcomes\n%s", len(results.Outcomes), text)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	x := Experiment{ID: "example-stop", Run: func(ctx context.Context, _ *Env, _ *Result) error {
		cancel()
		return ctx.Err()
	}}
	dir := t.TempDir()
	if err := Run(ctx, Options{Dir: dir}, []Experiment{x, example()}); !errors.Is(err, ErrFailed) {
		t.Errorf("error %v", err)
	}
	results, err := ReadResults(dir)
	if err != nil || len(results.Outcomes) != 1 {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestWords(t *testing.T) {
	up, down := figure.Interval{Low: 1.1, High: 1.3}, figure.Interval{Low: 0.7, High: 0.9}
	for _, tt := range []struct {
		better   Direction
		ratio    float64
		interval figure.Interval
		n        int
		want     string
	}{
		{Higher, 1.2, up, 5, "better"},
		{Lower, 1.2, up, 5, "worse"},
		{"", 1.2, up, 5, "higher"},
		{Higher, 0.8, down, 5, "worse"},
		{Lower, 0.8, down, 5, "better"},
		{"", 0.8, down, 5, "lower"},
		{Higher, 1.1, figure.Interval{Low: 0.9, High: 1.2}, 9, "within noise"},
		{Higher, 1.2, up, 4, "too few repetitions to tell"},
		{Higher, 1.2, up, 0, "not measured"},
	} {
		c := Comparison{Metric{Better: tt.better}, tt.ratio, tt.interval, tt.n}
		if got := c.Word(); got != tt.want {
			t.Errorf("%+v: %q, want %q", c, got, tt.want)
		}
	}
	values := []float64{10, 11, 10.5, 10.2, 10.8}
	if c := CompareRuns(Metric{}, values, values); !c.Noise() || c.Ratio != 1 {
		t.Errorf("a run against itself: %+v", c)
	}
	if c := CompareRuns(Metric{Better: Higher}, values, []float64{1, 2, 1, 2, 1}); c.Word() != "better" {
		t.Errorf("ten times as much: %v", c)
	}
	if c := CompareRuns(Metric{}, values, []float64{0, 0, 0, 0, 0}); c.Word() != "no ratio to zero" || c.String() != c.Word() {
		t.Errorf("with zero: %v", c)
	}
	if c := CompareRuns(Metric{}, values[:1], values[1:]); strings.Contains(c.String(), "(") {
		t.Errorf("one value has an interval: %v", c)
	}
	if c := CompareRuns(Metric{}, values, nil); c.Word() != "not measured" {
		t.Errorf("with nothing: %v", c)
	}
}

func TestBounds(t *testing.T) {
	least := func(c Comparison) (bool, string) { return c.AtLeast(0.95) }
	most := func(c Comparison) (bool, string) { return c.AtMost(1.01) }
	for _, tt := range []struct {
		bound     func(Comparison) (bool, string)
		ratio     float64
		low, high float64
		n         int
		met       bool
		want      string
	}{
		{least, 0.97, 0.95, 0.99, 5, true, "0.97 (0.95–0.99)"},
		{least, 0.97, 0.94, 0.99, 5, true, "0.97 (0.94–0.99), within noise"},
		{least, 0.94, 0.9, 0.96, 5, false, "0.94 (0.90–0.96), within noise"},
		{least, 0.9, 0.89, 0.91, 5, false, "0.90 (0.89–0.91)"},
		{least, 0.97, 0.95, 0.99, 4, true, "0.97, too few repetitions to tell"},
		{least, 0, 0, 0, 0, false, "not measured"},
		{most, 1.005, 1, 1.008, 5, true, "+0.5 % (+0.0 to +0.8 %)"},
		{most, 1.005, 1, 1.02, 5, true, "+0.5 % (+0.0 to +2.0 %), within noise"},
		{most, 1.02, 1.005, 1.03, 5, false, "+2.0 % (+0.5 to +3.0 %), within noise"},
		{most, 1.02, 1.015, 1.03, 5, false, "+2.0 % (+1.5 to +3.0 %)"},
		{most, 1.005, 1, 1.008, 4, true, "+0.5 %, too few repetitions to tell"},
		{most, 0, 0, 0, 0, false, "not measured"},
	} {
		c := Comparison{Metric{}, tt.ratio, figure.Interval{Low: tt.low, High: tt.high}, tt.n}
		if met, got := tt.bound(c); met != tt.met || got != tt.want {
			t.Errorf("%+v: %t, %q", tt, met, got)
		}
	}
}

func TestEnv(t *testing.T) {
	e := Env{Quick: true, Relays: []string{"haproxy"}}
	if e.Rounds(9, 2) != 2 || !e.Relay("haproxy") || e.Relay("nginx") {
		t.Errorf("%+v", e)
	}
	e = Env{Quick: true, Repeat: 4}
	if e.Rounds(9, 2) != 4 || !e.Relay("nginx") || !e.Cell("1:4 rate, 1:1 delay") {
		t.Errorf("%+v", e)
	}
	e = Env{Cells: regexp.MustCompile("1:1 delay$")}
	if !e.Cell("1:4 rate, 1:1 delay") || e.Cell("1:1 rate, 1:5 delay") {
		t.Errorf("%+v", e)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 1.2345: "1.23", 12.345: "12.3", 12345.6: "12346", -2.5: "-2.50"} {
		if got := Number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	if got := Spread([]float64{2, 2}); got != "2.00 (2.00–2.00)" {
		t.Error(got)
	}
}

func TestRand(t *testing.T) {
	e := Env{Seed: 1}
	a, b, c := e.Rand("sizes").Uint64(), e.Rand("sizes").Uint64(), e.Rand("times").Uint64()
	if a != b || a == c {
		t.Errorf("%d %d %d", a, b, c)
	}
}

func TestReadBroken(t *testing.T) {
	for _, text := range []string{"{", `{"kind":"verdict","experiment":"x","value":{}}`, `{"kind":"run","value":3}`} {
		if _, err := parseResults(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestProgress: what is left shrinks with each part, and the bar stays a line.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, terminal: true, ids: []string{"a", "b"}, expected: []time.Duration{time.Minute, time.Hour}}
	p.begin(0)
	p.step(1, 2, "%s", strings.Repeat("long ", 100))
	if left := p.left(); left < time.Hour || left > time.Hour+time.Minute {
		t.Errorf("%v left", left)
	}
	p.end()
	// The first one took next to nothing, and so may the second one.
	p.begin(1)
	if left := p.left(); left > time.Minute {
		t.Errorf("%v left", left)
	}
	p.end()
	for line := range strings.SplitSeq(out.String(), "\r") {
		if n := len([]rune(strings.TrimPrefix(line, "\x1b[K"))); n > 100 {
			t.Errorf("a line of %d characters", n)
		}
	}
	(*progress)(nil).step(1, 2, "nothing is told")
}

func TestComparison(t *testing.T) {
	before, _, err := run(t, Options{}, example())
	if err != nil {
		t.Fatal(err)
	}
	now, _, err := run(t, Options{}, example())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range now.Outcomes[0].Repetitions {
		if x.Arm == "b" {
			x.Values["rate"] *= 100
		}
	}
	now.Outcomes[0].Verdicts[0].Met = false
	// A second one that asks the same is compared with the second one.
	second := before.Outcomes[0].Verdicts[0]
	second.Got = "the second"
	before.Outcomes[0].Verdicts = append(before.Outcomes[0].Verdicts, second)
	now.Outcomes[0].Verdicts = append(now.Outcomes[0].Verdicts, second)
	var out bytes.Buffer
	if err := WriteComparison(&out, before, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 better", "3 within noise", "missed now, was met: b is faster", "+9900.0 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "the second") {
		t.Errorf("a verdict that is the same has changed:\n%s", &out)
	}
	if err := WriteComparison(&out, &Results{}, now); !errors.Is(err, ErrNothingInCommon) {
		t.Errorf("error %v", err)
	}
}
