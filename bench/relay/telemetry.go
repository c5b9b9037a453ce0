// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-gateway/tandem/bench/experiment"
	"github.com/tandem-gateway/tandem/bench/relay/load"
	"github.com/tandem-gateway/tandem/bench/relay/peers"
)

// The arms that tell nothing, all they can, and nothing once more, in a process of
// its own: what that one differs by is chance.
const (
	withoutTelemetry = "without"
	withTelemetry    = "with"
	controlTelemetry = "without, again"
)

// What may be chosen of the experiment, beside the names of besideCell.
const (
	inTurns    = "in turns"
	sideBySide = "side by side"
)

// besideCell is such as "side by side: connections, TCP".
func besideCell(p part) string { return sideBySide + ": " + p.name }

var errNoCell = errors.New("no cell matches: want some of " + strconv.Quote(inTurns) + " and " + strconv.Quote(sideBySide))

// telemetryParts are what may become slower.
var telemetryParts = []part{
	{load.Connections, true, parallel, "connections, MPTCP"},
	{load.Connections, false, parallel, "connections, TCP"},
	{load.BulkUp, true, 8, "up"},
	{load.BulkDown, true, 8, "down"},
}

var telemetry = experiment.Experiment{
	ID: "relay-telemetry", Title: "What telemetry and records cost",
	Question: "How much slower is Tandem when it tells all it can of what it does?",
	Setup: "Tandem's forward with metrics over OTLP each second, 1 % of connections traced, and records in a file, beside Tandem without any of it, in turns: " +
		"new connections, 64 at a time, with a request and an answer of 1 kB; eight transfers at once with MPTCP. Both run all the time. " +
		"Then new connections go to both at the same time, to one after the other, and the CPU time of each in two seconds is compared; and so with two without. Over the loopback device of one namespace; client, relay and server share the processors; reno.",
	Drawing: drawing,
	Metrics: append(rateMetrics(telemetryParts), besideMetrics(telemetryParts)...),
	Takes:   4*time.Minute + 30*time.Second, Quick: 3 * time.Second,
	Run: func(ctx context.Context, e *experiment.Env, r *experiment.Result) (err error) {
		besides := slices.ContainsFunc(telemetryParts, func(p part) bool { return !p.bulk() && e.Cell(besideCell(p)) })
		if !e.Cell(inTurns) && !besides {
			return errNoCell
		}
		silent, telling := peers.Telling(tools(e))
		f := &field{r: r, port: firstRelayPort}
		f.add(withoutTelemetry, &silent)
		f.add(withTelemetry, &telling)
		if err := f.open(ctx, e); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.close()) }()
		if e.Cell(inTurns) {
			if err := f.telemetryInTurns(ctx, e.Rounds(5, 1)); err != nil {
				return err
			}
		}
		if besides {
			f.add(controlTelemetry, &silent)
			if err := f.telemetrySideBySide(ctx, e.Rounds(15, 1)); err != nil {
				return err
			}
		}
		f.about(ctx)
		return nil
	},
}

// telemetryInTurns measures what is carried with telemetry and without.
func (f *field) telemetryInTurns(ctx context.Context, rounds int) error {
	if err := f.rates(ctx, rounds, telemetryParts); err != nil {
		return err
	}
	r := f.r
	r.NextTable("With beside without: median of the ratios of each round")
	r.Columns("", "rate", "CPU")
	for _, p := range telemetryParts {
		r.Row(p.name, r.Compare(p.name, withTelemetry, withoutTelemetry).String(), r.Compare(p.metric(cpuMetric), withTelemetry, withoutTelemetry).String())
		f.atLeast(p.name, withTelemetry, withoutTelemetry, 0.99, p.name+": at least 0.99 of what it is without")
		f.plot(p.name, p.name+", with telemetry and without")
	}
	return nil
}

// telemetrySideBySide measures the CPU time of connections with telemetry and
// without at the same time. It is what decides how many a machine carries.
func (f *field) telemetrySideBySide(ctx context.Context, rounds int) error {
	without, with, control := f.contestants[0], f.contestants[1], f.contestants[2]
	var parts []part
	for _, p := range telemetryParts {
		if !p.bulk() && f.e.Cell(besideCell(p)) {
			parts = append(parts, p)
		}
	}
	for round := range 2 * rounds { // those of each pair have numbers of their own
		pair := []*contestant{without, []*contestant{with, control}[round%2]}
		if round/2%2 == 1 {
			slices.Reverse(pair)
		}
		for _, p := range parts {
			if err := f.beside(ctx, round, p, pair...); err != nil {
				return err
			}
		}
		f.e.Step(round+1, 2*rounds, "%s", sideBySide)
	}
	r := f.r
	r.NextTable("New connections side by side: CPU time of each, and median of the ratios of each round")
	r.Columns("", withoutTelemetry+", µs", "with", "control")
	for _, p := range parts {
		m := p.metric(besideMetric)
		r.Row(p.name, experiment.Spread(r.Values(withoutTelemetry, m)),
			r.Compare(m, withTelemetry, withoutTelemetry).String(), r.Compare(m, controlTelemetry, withoutTelemetry).String())
		met, got := r.Compare(m, withTelemetry, withoutTelemetry).AtMost(1.01)
		r.Judge(met, p.name+": CPU time of each at most 1.01 of what it is without", "%s", got)
	}
	if f.lostBeside > 0 {
		r.Note("%d connections failed side by side, which are not counted", f.lostBeside)
	}
	return nil
}

// besideMetrics are what beside measures of parts.
func besideMetrics(parts []part) (metrics []experiment.Metric) {
	for _, p := range parts {
		if !p.bulk() {
			metrics = append(metrics, experiment.Metric{Name: p.metric(besideMetric), Unit: "µs each", Better: experiment.Lower})
		}
	}
	return metrics
}
