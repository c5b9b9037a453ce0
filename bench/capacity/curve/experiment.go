// SPDX-License-Identifier: Apache-2.0

// Package curve measures what Tandem carries, and what it takes for that, by the
// number of connections that there are at the same time: what package capacity
// reckons with.
package curve

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-gateway/tandem/bench/capacity"
	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/figure"
)

// Experiments of this package.
var Experiments = []experiment.Experiment{{
	ID: capacity.CurveID, Title: "Throughput, new connections and memory by the number of connections",
	Question: "What does Tandem carry, and what does it take for that, as there are more and more connections?",
	Setup: "A listener of type forward, MPTCP to the client and TCP to the source, all in one namespace over its loopback device, reno. " +
		"At each number of connections, with a Tandem that was started for it: so many idle ones, memory and CPU time while nothing moves, new connections with 1 kB of request and answer beside them, 64 at a time; then as many downloads at once, with buffers of sockets limited so that all fit into what the kernel allows TCP altogether. " +
		"The largest number is what the limit of open files lets one process relay. Numbers take turns.",
	Drawing: " client ---- Tandem ---- source",
	Metrics: []experiment.Metric{
		{Name: capacity.Throughput, Unit: "Gbit/s", Better: experiment.Higher},
		{Name: capacity.CPUPerGB, Unit: "s", Better: experiment.Lower},
		{Name: capacity.NewConnections, Unit: "1/s", Better: experiment.Higher},
		{Name: capacity.CPUPerConnection, Unit: "µs", Better: experiment.Lower},
		{Name: capacity.UserMemory, Unit: "MB", Better: experiment.Lower},
		{Name: capacity.KernelMemory, Unit: "MB", Better: experiment.Lower},
		{Name: capacity.IdleCPU, Unit: "ms/s", Better: experiment.Lower},
		{Name: busyMemory, Unit: "MB", Better: experiment.Lower},
		{Name: buffers, Unit: "MB", Better: experiment.Lower},
		{Name: capacity.BaseMemory, Unit: "MB", Better: experiment.Lower},
	},
	Takes: 2 * time.Minute, Quick: 4 * time.Second,
	Run: func(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
		s := full
		if s.levels = levels(descriptors()); e.Quick {
			s = short(1, 100)
		}
		return s.run(ctx, e, r)
	},
}}

// Metrics that the model does not need.
const (
	busyMemory = "busy memory"  // MB of Tandem while all connections carry data
	buffers    = "busy buffers" // MB that all sockets on the way have reserved then
)

// Brief is the experiment at one number of connections: enough for the model.
func Brief() experiment.Experiment {
	x := Experiments[0]
	x.Takes, x.Quick = 35*time.Second, 5*time.Second
	x.Run = func(ctx context.Context, e *experiment.Env, r *experiment.Result) error {
		all := levels(descriptors())
		most := all[len(all)-1]
		s := full
		if s.levels = []int{min(most, 5000)}; e.Quick {
			s = short(min(most, 1000))
		}
		return s.run(ctx, e, r)
	}
	return x
}

// size of the experiment.
type size struct {
	levels []int
	rounds int
	each   time.Duration // of new connections
	idle   time.Duration
	busy   time.Duration // of downloads, after half of it to warm up
}

// full is what figures may be quoted of.
var full = size{rounds: 3, each: time.Second, idle: time.Second, busy: 1500 * time.Millisecond}

// short is one round of little.
func short(levels ...int) size {
	return size{levels: levels, rounds: 1, each: 300 * time.Millisecond, idle: 200 * time.Millisecond, busy: 300 * time.Millisecond}
}

// spare descriptors are those of new connections beside the idle ones, and of
// everything else in the process.
const spare = 1000

// descriptors is how many the processes of the experiment may open.
func descriptors() int {
	var limit unix.Rlimit
	// It always succeeds for the own process.
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<20))
}

// ports is how many connections two addresses can have, see stage.
const ports = 55000

// levels are powers of ten up to what a relay can hold with so many
// descriptors, two for each connection.
func levels(descriptors int) []int {
	most := min((descriptors-spare)/2, ports-5000)
	var all []int
	for n := 1; n < most*9/10; n *= 10 {
		all = append(all, n)
	}
	return append(all, max(most, 1))
}

func (s size) run(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
	st, err := newStage(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	var arms []experiment.Arm
	for _, n := range s.levels {
		arms = append(arms, experiment.Arm{Name: strconv.Itoa(n), Measure: func(ctx context.Context, _ int) (experiment.Measured, error) {
			return st.measure(ctx, n, &s)
		}})
	}
	if err := r.Turns(ctx, e.Rounds(s.rounds, s.rounds), arms...); err != nil {
		return err
	}
	r.Summary()
	tell(r, s.levels)
	return nil
}

// tell draws and judges the curves.
func tell(r *experiment.Result, levels []int) {
	line := func(name, metric string) figure.Series {
		l := figure.Series{Name: name}
		for _, n := range levels {
			l.X = append(l.X, float64(n))
			l.Y = append(l.Y, figure.Median(r.Values(strconv.Itoa(n), metric)))
		}
		return l
	}
	axes := func(title, y string) figure.Axes {
		return figure.Axes{Title: title, X: "connections at the same time", Y: y}
	}
	r.Plot("throughput", figure.Lines(axes("Throughput of all connections", "Gbit/s"), line("", capacity.Throughput)).LogX())
	r.Plot("new", figure.Lines(axes("New connections beside idle ones", "per second"), line("", capacity.NewConnections)).LogX())
	r.Plot("memory", figure.Lines(axes("Memory of idle connections", "MB"),
		line("Tandem", capacity.UserMemory), line("kernel, Tandem's sockets", capacity.KernelMemory)).LogX())
	r.Plot("cost", figure.Lines(axes("CPU time of Tandem for a new connection", "µs"), line("", capacity.CPUPerConnection)).LogX())

	most, some := levels[len(levels)-1], levels[len(levels)/2]
	r.Judge(true, "all connections come through, with 2 descriptors each while idle", "up to %d at the same time", most)
	if most >= 1000 {
		c := r.Compare(capacity.CPUPerConnection, strconv.Itoa(most), strconv.Itoa(some))
		r.Judge(c.Ratio < 1.5, "a new connection costs less than half as much again beside the most idle ones as beside fewer", "%d beside %d: %s", most, some, c)
	}
	r.Note("Client, Tandem and source share the processors: throughput and connections per second are of all three, CPU times of Tandem alone.")
	r.Note("Kernel memory is half of what slabs of the whole machine grow by: Tandem has one end of both connections, client and source have the others. It is exact only on a machine that does nothing else. Of few connections it is noise.")
}
