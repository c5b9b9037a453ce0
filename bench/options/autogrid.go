// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
	"github.com/tandem-gateway/tandem/bench/lab/emulator"
	"github.com/tandem-gateway/tandem/bpf"
)

var autoGrid = experiment.Experiment{
	ID:       "options-auto",
	Title:    "The scheduler auto over unequal paths",
	Question: "Are two paths ever worse than the better one of them alone?",
	Setup: "Download, bulk for 6 s and then messages of 200 bytes every 20 ms for 3 s, over a path of 20 Mbit/s and 10 ms one way and a second one, " +
		"whose rate is that of the first divided by 1, 4, 10 or 50, whose delay is that of the first times 1, 5 or 20, and which loses nothing or 1 %, " +
		"or has a buffer of 2 s; the kernel's congestion control (bbr where it is the default), in a few cells reno or cubic; in two cells connections " +
		"begin on the worse path. Alone is an MPTCP connection that keeps to the better path. " +
		"Auto first is the first connection over these paths, auto later knows what that one has found out.",
	Takes: 29 * time.Minute, Quick: 5 * time.Second,
	Run: measureAuto,
}

const (
	autoRate  = 20_000_000
	autoDelay = 10 * time.Millisecond
	bloated   = 2 * time.Second
)

// cell is what the worse of two paths is like.
type cell struct {
	Rate  uint64        `json:"rate_divisor"`
	Delay time.Duration `json:"delay_factor"`
	Loss  float64       `json:"loss"`
	Bloat bool          `json:"bloated"`
	// WorseFirst has connections begin on it.
	WorseFirst bool   `json:"worse_first"`
	Congestion string `json:"congestion_control,omitempty"` // empty is the kernel's
}

func (c cell) String() string {
	text := fmt.Sprintf("1:%d rate, 1:%d delay", c.Rate, c.Delay)
	if c.Loss > 0 {
		text += fmt.Sprintf(", %g %% loss", 100*c.Loss)
	}
	if c.Bloat {
		text += ", bloated"
	}
	if c.WorseFirst {
		text += ", worse first"
	}
	if c.Congestion != "" {
		text += ", " + c.Congestion
	}
	return text
}

func (c cell) links() lab.TwoPathSpec {
	second := lab.LinkSpec{Rate: autoRate / c.Rate, Delay: autoDelay * c.Delay, Seed: 2}
	if c.Loss > 0 {
		second.Loss = emulator.RandomLoss(c.Loss)
	}
	if c.Bloat {
		second.Queue = uint32(float64(second.Rate) / 8 * bloated.Seconds())
	}
	first := lab.LinkSpec{Rate: autoRate, Delay: autoDelay, Seed: 1}
	if c.WorseFirst {
		first, second = second, first
	}
	return lab.TwoPathSpec{WiFi: first, Cell: second}
}

// better is the number of the better path, from 0.
func (c cell) better() int {
	if c.WorseFirst {
		return 1
	}
	return 0
}

func grid() (cells []cell) {
	rates := []uint64{1, 4, 10, 50}
	for _, loss := range []float64{0, 0.01} {
		for _, delay := range []time.Duration{1, 5, 20} {
			for _, rate := range rates {
				cells = append(cells, cell{Rate: rate, Delay: delay, Loss: loss})
			}
		}
	}
	for _, rate := range rates {
		cells = append(cells, cell{Rate: rate, Delay: 1, Bloat: true})
	}
	return append(cells,
		cell{Rate: 10, Delay: 1, WorseFirst: true}, cell{Rate: 50, Delay: 1, WorseFirst: true},
		cell{Rate: 1, Delay: 1, Congestion: "reno"}, cell{Rate: 50, Delay: 1, Congestion: "reno"},
		cell{Rate: 1, Delay: 1, Congestion: "cubic"}, cell{Rate: 4, Delay: 5, Congestion: "cubic"})
}

// aloneArm is the arm that keeps to the better path.
const aloneArm = "alone"

// autoArms in the order in which they run in each cell.
var autoArms = []struct {
	name   string
	policy bpf.Policy
	thin   bool
}{
	{aloneArm, bpf.Policy{Scheduler: bpf.Weighted}, true}, // to the better path
	{"default", bpf.Policy{}, true},
	{"primary", bpf.Policy{Scheduler: bpf.Primary}, true},
	{"auto first", bpf.Policy{Scheduler: bpf.Auto}, false},
	{"auto later", bpf.Policy{Scheduler: bpf.Auto}, true},
}

// inCell is what each arm came to.
type inCell struct {
	Cell    cell               `json:"cell"`
	Goodput map[string]float64 `json:"goodput_mbit_per_second"`
	P95     map[string]float64 `json:"thin_p95_ms"`
}

func measureAuto(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
	bulk, thin, cells := 6*time.Second, 3*time.Second, grid()
	if e.Quick {
		bulk, thin, cells = 300*time.Millisecond, 100*time.Millisecond, []cell{{Rate: 4, Delay: 1}}
	}
	cells = slices.DeleteFunc(cells, func(c cell) bool { return !e.Cell(c.String()) })
	if len(cells) == 0 {
		return fmt.Errorf("no cell has a name that matches %v", e.Cells)
	}
	var all []inCell
	for i, c := range cells {
		x, err := c.measure(ctx, bulk, thin)
		if err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
		r.Record("cell", x)
		e.Step(i+1, len(cells), "%v: alone %.1f, default %.1f, auto %.1f and %.1f Mbit/s", c,
			x.Goodput[aloneArm], x.Goodput["default"], x.Goodput["auto first"], x.Goodput["auto later"])
		all = append(all, x)
	}
	tellAuto(r, all)
	return nil
}

// measure runs all arms in a lab of its own, since auto remembers paths.
func (c cell) measure(ctx context.Context, bulk, thin time.Duration) (x inCell, err error) {
	x = inCell{Cell: c, Goodput: map[string]float64{}, P95: map[string]float64{}}
	s, err := newStage(ctx, stageSpec{links: c.links(), congestion: c.Congestion})
	if err != nil {
		return x, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, arm := range autoArms {
		p := arm.policy
		if arm.name == aloneArm {
			p.Paths[c.better()].Weight = 1
		}
		d, err := s.carry(ctx, p, bulkStream, bulk)
		if err != nil {
			return x, fmt.Errorf("%s, bulk: %w", arm.name, err)
		}
		x.Goodput[arm.name] = d.Goodput
		if !arm.thin {
			continue
		}
		if d, err = s.carry(ctx, p, thinStream, thin); err != nil {
			return x, fmt.Errorf("%s, thin: %w", arm.name, err)
		}
		x.P95[arm.name] = d.percentile(95)
	}
	return x, nil
}

// Targets of auto, against the better path alone and against the sum.
const (
	autoGoodput = 0.98
	autoSum     = 0.9
	autoP95     = 1.15
)

func tellAuto(r *experiment.Result, all []inCell) {
	showAuto(r, all)
	judgeAuto(r, all)
	if len(all) > 1 {
		plotAuto(r, all)
	}
}

func showAuto(r *experiment.Result, all []inCell) {
	columns := []string{"second path"}
	for _, arm := range autoArms {
		columns = append(columns, arm.name+", Mbit/s")
	}
	for _, arm := range autoArms {
		if arm.thin {
			columns = append(columns, "thin p95 "+strings.TrimSuffix(arm.name, " later")+", ms")
		}
	}
	r.Columns(columns...)
	for _, x := range all {
		row := []string{x.Cell.String()}
		for _, arm := range autoArms {
			row = append(row, fmt.Sprintf("%.2f", x.Goodput[arm.name]))
		}
		for _, arm := range autoArms {
			if arm.thin {
				row = append(row, fmt.Sprintf("%.1f", x.P95[arm.name]))
			}
		}
		r.Row(row...)
	}
}

func judgeAuto(r *experiment.Result, all []inCell) {
	missed := map[string][]string{}
	sums := 0
	for _, x := range all {
		best := x.Goodput[aloneArm]
		for _, name := range []string{"default", "primary", "auto first", "auto later"} {
			if ratio := x.Goodput[name] / best; ratio < autoGoodput {
				missed[name] = append(missed[name], fmt.Sprintf("%v: %.2f", x.Cell, ratio))
			}
		}
		if ratio := x.P95["auto later"] / x.P95[aloneArm]; ratio > autoP95 {
			missed["p95"] = append(missed["p95"], fmt.Sprintf("%v: %.2f", x.Cell, ratio))
		}
		sum := best * (1 + 1/float64(x.Cell.Rate))
		if x.Goodput["default"] < autoSum*sum {
			continue
		}
		sums++
		if x.Goodput["auto later"] < autoSum*sum {
			missed["sum"] = append(missed["sum"], fmt.Sprintf("%v: %.2f", x.Cell, x.Goodput["auto later"]/sum))
		}
	}
	tell := func(name, asked string, of int) {
		got := fmt.Sprintf("%d of %d cells", of-len(missed[name]), of)
		if len(missed[name]) > 0 {
			got += "; missed: " + strings.Join(missed[name], "; ")
		}
		r.Judge(len(missed[name]) == 0, asked, "%s", got)
	}
	tell("auto first", "the first connection moves at least 0.98 of what the better path does alone", len(all))
	tell("auto later", "later connections move at least 0.98 of what the better path does alone", len(all))
	tell("sum", "above 0.9 of the sum of the rates where the kernel alone reaches that", sums)
	tell("p95", "thin streams: p95 at most 1.15 of the better path's", len(all))
	r.Note("Below 0.98 of the better path alone were default in %d of %d cells, and primary in %d.", len(missed["default"]), len(all), len(missed["primary"]))
}

func plotAuto(r *experiment.Result, all []inCell) {
	var lines []figure.Series
	for _, arm := range autoArms[1:] {
		s := figure.Series{Name: arm.name}
		for i, x := range all {
			s.X, s.Y = append(s.X, float64(i+1)), append(s.Y, x.Goodput[arm.name]/x.Goodput[aloneArm])
		}
		lines = append(lines, s)
	}
	r.Plot("", figure.Lines(figure.Axes{Title: "Goodput over two unequal paths", X: "cell, in the order of the table", Y: "of the better path alone"}, lines...).
		Limit(figure.Line{Name: "target", Value: autoGoodput}))
}
