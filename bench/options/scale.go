// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
	"github.com/tandem-gateway/tandem/bench/lab"
)

var atScale = experiment.Experiment{
	ID:       "options-scale",
	Title:    "One option changed on each of 9,500 connections",
	Question: "How long does it take, and how much CPU, to change an option of every live connection of a gateway?",
	Setup:    "9,500 idle MPTCP connections over loopback, both ends in one process; at the accepting ends an option is set on each connection, changed twice, and taken back, with one walk through the sockets each time; then for 100 of them with a walk for each.",
	Metrics:  scaleMetrics,
	Takes:    time.Minute, Quick: 4 * time.Second,
	Run: measureScale,
}

// scaleMetrics are what changes of many connections take.
var scaleMetrics = []experiment.Metric{
	{Name: "connections"},
	{Name: "time", Unit: "s", Better: experiment.Lower},
	{Name: "CPU", Unit: "s", Better: experiment.Lower},
	{Name: "each", Unit: "µs", Better: experiment.Lower},
}

// manyConnections is what a process can hold both ends of with 20,000
// descriptors.
const manyConnections = 9500

// changeTime is how long a change of all connections may take.
const changeTime = time.Second

// changed is what it took to change connections.
type changed struct {
	What        string
	Connections int
	Elapsed     time.Duration
	CPU         time.Duration
}

// changes is what the child tells.
type changes struct {
	Connections int
	Opening     time.Duration
	All         []changed
}

func measureScale(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	n := e.Rounds(manyConnections, 200)
	l, err := lab.New("scale")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	h, err := manyPorts(l, "loop")
	if err != nil {
		return err
	}
	w, err := startWorker(ctx, h, e, scaleChild, fmt.Sprint(n))
	if err != nil {
		return err
	}
	var c changes
	err = w.call(time.Duration(0), &c)
	if err = errors.Join(err, w.stop()); err != nil {
		return err
	}
	r.Note("opening the %d connections took %.1f s", c.Connections, c.Opening.Seconds())
	var worst changed
	for i, x := range c.All {
		e.Step(i+1, len(c.All), "%s: %.2f s, %.2f s of CPU", x.What, x.Elapsed.Seconds(), x.CPU.Seconds())
		if x.Connections == c.Connections && x.Elapsed > worst.Elapsed {
			worst = x
		}
	}
	showChanges(r, fmt.Sprintf("An option changed on %d connections", c.Connections), c.All)
	r.Judge(worst.Elapsed <= changeTime, fmt.Sprintf("each change of %d connections within %v", c.Connections, changeTime),
		"%s: %.2f s, %.2f s of CPU", worst.What, worst.Elapsed.Seconds(), worst.CPU.Seconds())
	return nil
}

// showChanges adds what changes took to a result, with a plot.
func showChanges(r *experiment.Result, title string, all []changed) {
	var bars []figure.Bar
	for _, x := range all {
		each := float64(x.Elapsed.Nanoseconds()) / 1e3 / float64(x.Connections)
		r.Add(x.What, 0, experiment.Measured{
			"connections": float64(x.Connections), "time": x.Elapsed.Seconds(), "CPU": x.CPU.Seconds(), "each": each,
		})
		bars = append(bars, figure.Bar{Name: x.What, Value: each})
	}
	r.Summary()
	r.Plot("", figure.Bars(figure.Axes{Title: title, Y: "µs for each connection"}, bars...))
}
