// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
)

var overhead = experiment.Experiment{
	ID:       "options-overhead",
	Title:    "What eBPF programs and TCP options cost a bulk transfer",
	Question: "How much slower is a transfer, and how much more CPU does it take, when programs are attached, when its congestion control is wrapped, when its peer may ask, when it asks, and while options are written and parsed all the time?",
	Setup: "One MPTCP connection over loopback in a namespace, from the accepting end to the connecting one, on one processor, so that what costs time costs goodput; for each repetition a new one; all arms in turns, each in a process of its own; reno; TCP_NOTSENT_LOWAT of 32 kB in all arms. " +
		"\"attached\": programs see the connection, and leave it alone; \"steered\": it has a policy, with nothing to do; \"may be asked\": the sender looks for options in what comes in, and there are none; " +
		"\"asked each second\": the receiver asks, and is answered; \"always asking\": requests that nobody answers are in flight all the time, so that the receiver looks for the answer in each segment, and writes 40 options in a second; \"always asked\": the sender looks for them, too.",
	Published: []experiment.Published{
		{Source: fig55, Value: "30.1 Gbit/s without programs; writing −12.7 %, parsing a further −3.8 %; RTT +14.8 % and +4.5 %"},
		{Source: fig54, Value: "9.41 Gbit/s without programs, 9.38 with; CPU up to +10 %"},
	},
	Metrics: []experiment.Metric{
		{Name: "goodput", Unit: "Gbit/s", Better: experiment.Higher},
		{Name: "CPU", Unit: "s/GB", Better: experiment.Lower},
		{Name: "RTT", Unit: "µs", Better: experiment.Lower},
	},
	Takes: 3 * time.Minute, Quick: 5 * time.Second,
	Run: measureOverhead,
}

// load is what the process of an arm does besides the transfer.
type load string

const (
	noPrograms load = "none"
	attached   load = "attached"
	wrapped    load = "steered"
	listening  load = "may be asked"
	asking     load = "asked each second"
	writing    load = "always asking"
	parsing    load = "always asked"
)

// What the thesis has published.
const (
	fig55 = "thesis, fig 5.5 (loopback)"
	fig54 = "thesis, fig 5.4 (link of 10 Gbit/s)"
)

// maxOverhead is how much goodput may be lost, and CPU be taken, in all.
const maxOverhead = 0.01

func measureOverhead(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	loads := []load{noPrograms, attached, wrapped, listening, asking, writing, parsing}
	rounds, each := 24, 300*time.Millisecond
	if e.Quick {
		loads, rounds, each = []load{noPrograms, parsing}, 1, 200*time.Millisecond
	}
	l, err := lab.New("overhead")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	h, err := l.Host("loop")
	if err != nil {
		return err
	}
	if err := h.Sysctl("net.ipv4.tcp_congestion_control", "reno"); err != nil {
		return err
	}
	var arms []experiment.Arm
	var workers []*worker
	for _, x := range loads {
		w, err := startWorker(ctx, h, e, overheadChild, string(x))
		if err != nil {
			return fmt.Errorf("%s: %w", x, err)
		}
		defer w.stop()
		workers = append(workers, w)
		arms = append(arms, experiment.Arm{Name: string(x), Measure: func(context.Context, int) (experiment.Measured, error) {
			var t transfer
			if err := w.call(transferFor{Time: each}, &t); err != nil {
				return nil, err
			}
			return t.measured(), nil
		}})
	}
	if !e.Quick {
		for _, arm := range arms { // to warm up
			if _, err := arm.Measure(ctx, 0); err != nil {
				return fmt.Errorf("%s: %w", arm.Name, err)
			}
		}
	}
	if err := r.Turns(ctx, rounds, arms...); err != nil {
		return err
	}
	r.Summary()
	tellOverhead(r, loads)
	return countRuns(r, loads[1:], workers[1:], 4*each)
}

func tellOverhead(r *experiment.Result, loads []load) {
	r.NextTable("beside the arm without programs, of the same round")
	r.Columns("", "goodput", "CPU")
	thesis := map[load]string{writing: "thesis −12.7 %", parsing: "thesis −16 %"}
	var bars []figure.Bar
	for _, x := range loads[1:] {
		goodput, cpu := r.Compare("goodput", string(x), string(noPrograms)), r.Compare("CPU", string(x), string(noPrograms))
		r.Row(string(x), goodput.String(), cpu.String())
		note := thesis[x]
		if note != "" {
			note = " (" + note + ")"
		}
		r.Judge(goodput.Ratio >= 1-maxOverhead, string(x)+": at most 1 % of the goodput"+note, "%s", goodput)
		r.Judge(cpu.Ratio <= 1+maxOverhead, string(x)+": at most 1 % more CPU for each byte", "%s", cpu)
		bars = append(bars, figure.Bar{Name: string(x), Value: 100 * goodput.Ratio, Range: figure.Interval{Low: 100 * goodput.Interval.Low, High: 100 * goodput.Interval.High}})
	}
	tellPublished(r, loads)
	if loads[1] == attached {
		r.NextTable("beside programs that look at nothing")
		r.Columns("", "goodput", "CPU")
		for _, x := range loads[2:] {
			r.Row(string(x), r.Compare("goodput", string(x), string(attached)).String(), r.Compare("CPU", string(x), string(attached)).String())
		}
	}
	bars = append(bars, figure.Bar{Name: "thesis: written", Value: 87.3}, figure.Bar{Name: "thesis: parsed", Value: 87.3 * 0.962})
	r.Plot("", figure.Bars(figure.Axes{Title: "Goodput over loopback beside that without programs (the thesis: fig 5.5)", Y: "percent"}, bars...).
		Limit(figure.Line{Name: "99 %", Value: 99}))
	r.Plot("cpu", r.Bars("CPU", "CPU for each byte of a transfer over loopback"))
}

// tellPublished puts beside the published values what has been measured.
func tellPublished(r *experiment.Result, loads []load) {
	base := figure.Median(r.Values(string(noPrograms), "goodput"))
	text := fmt.Sprintf("%.1f Gbit/s without programs", base)
	for _, x := range []load{writing, parsing} {
		if slices.Contains(loads, x) {
			text += fmt.Sprintf("; %s: %s, RTT %s", x, r.Compare("goodput", string(x), string(noPrograms)), r.Compare("RTT", string(x), string(noPrograms)))
		}
	}
	r.Ours(fig55, "%s", text)
	r.Ours(fig54, "no such link here; over loopback, where there is more to lose, CPU with options parsed: %s", r.Compare("CPU", string(parsing), string(noPrograms)))
}

// countRuns has the kernel count what programs do in a transfer of each arm,
// apart from the others, since counting takes time, too.
func countRuns(r *experiment.Result, loads []load, workers []*worker, each time.Duration) error {
	r.NextTable("what the programs do, as the kernel counts it: its clocks take some 40 ns of each run")
	r.Columns("", "program", "runs for each GB", "ns", "of the CPU")
	for i, x := range loads {
		var t transfer
		if err := workers[i].call(transferFor{Time: each, Count: true}, &t); err != nil {
			return fmt.Errorf("%s: %w", x, err)
		}
		r.Record(string(x), t)
		for _, u := range t.Programs {
			r.Row(string(x), u.Name, fmt.Sprintf("%.0f", float64(u.Runs)*1e9/float64(t.Bytes)), fmt.Sprint(u.Time.Nanoseconds()/int64(u.Runs)),
				fmt.Sprintf("%.2f %%", 100*u.Time.Seconds()/t.CPU.Seconds()))
		}
	}
	return nil
}

// transferFor is what the process of an arm is told to do.
type transferFor struct {
	Time  time.Duration
	Count bool // what the programs do
}

// transfer is a repetition.
type transfer struct {
	Bytes    int64
	Elapsed  time.Duration
	CPU      time.Duration // of the process, user and system
	RTT      time.Duration // smoothed, at the end
	Programs []usage       // those that have run, if that was to be counted
}

// usage is what a program did in a transfer.
type usage struct {
	Name string
	Runs uint64
	Time time.Duration
}

func (t transfer) measured() experiment.Measured {
	return experiment.Measured{
		"goodput": float64(t.Bytes) * 8 / 1e9 / t.Elapsed.Seconds(),
		"CPU":     t.CPU.Seconds() / (float64(t.Bytes) / 1e9),
		"RTT":     float64(t.RTT.Nanoseconds()) / 1e3,
	}
}

// loopback is where the child listens.
var loopback = netip.MustParseAddrPort("127.0.0.1:0")
